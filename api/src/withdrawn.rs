//! What goes on after its request was granted, a watch or a stream to a Pod, ends when what it was granted by is withdrawn: the token,
//! the ServiceAccount, the role.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Extensions, HeaderMap};
use tokio_util::sync::CancellationToken;

use crate::Server;
use crate::access::{self, Identity, User};
use crate::limits::Taken;
use crate::path::Place;
use crate::query::Query;
use crate::serve::Call;
use crate::status::{Result, Status};

/// How often is looked.
const LOOK: Duration = Duration::from_secs(3);

/// A request's extension for whoever carries on its stream: it holds this as long as the stream lasts, and ends it when this is cancelled.
pub type Lease = Arc<CancellationToken>;

/// What was granted, and to whom.
pub struct Grant {
    server: Arc<Server>,
    identity: Option<User>,
    headers: HeaderMap,
    user: User,
    verb: String,
    place: Place,
    query: Query,
}

impl Grant {
    /// What a call was granted: to do `verb` where it does.
    pub fn of(call: &Call, verb: &str) -> Self {
        Self {
            server: Arc::clone(&call.server),
            identity: identity(&call.extensions),
            headers: call.headers.clone(),
            user: call.user.clone(),
            verb: verb.to_owned(),
            place: call.place.clone(),
            query: call.query.clone(),
        }
    }

    /// Waits until it is granted no more.
    pub async fn withdrawn(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.is_granted().await {
                // A store that does not answer says nothing of what is granted.
                Ok(true) | Err(_) => {}
                Ok(false) => return,
            }
        }
    }

    async fn is_granted(&self) -> Result<bool> {
        let granted = self.ask().await;
        match granted {
            Err(Status { code: 401 | 403, .. }) => Ok(false),
            other => other,
        }
    }

    async fn ask(&self) -> Result<bool> {
        let asker = match &self.identity {
            Some(user) => user.clone(),
            None => access::authenticate(&self.server, &self.headers).await?,
        };
        let user = access::impersonate(&self.server, asker, &self.headers).await?;
        if user.name != self.user.name {
            return Ok(false);
        }
        access::authorize(&self.server, &user, &self.verb, &self.place, &self.query).await.map(|()| true)
    }

    /// A lease for a stream, which ends when this is withdrawn. The stream has `place` until whoever holds the lease drops it.
    pub fn lease(self, place: Option<Taken>) -> Lease {
        let lease = Lease::default();
        let (token, held) = (CancellationToken::clone(&lease), Arc::downgrade(&lease));
        tokio::spawn(async move {
            tokio::select! {
                () = self.withdrawn() => token.cancel(),
                () = dropped(held) => {}
            }
            drop(place);
        });
        lease
    }
}

async fn dropped(lease: Weak<CancellationToken>) {
    while lease.strong_count() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

fn identity(extensions: &Extensions) -> Option<User> {
    extensions.get::<Identity>().map(|Identity(user)| user.clone())
}
