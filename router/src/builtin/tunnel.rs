//! Upgraded connections, WebSockets above all: bytes pass both ways until either side ends or a drain cuts them.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::body::Relay;
use super::endpoint::Seat;
use super::headers::{self, Upgrade};
use super::link::Link;
use crate::places::Work;

/// Grants the client's wish as the endpoint did, and joins the two connections once the client has been told.
/// A tunnel that is cut is no failed request: its answer was the upgrade.
pub(super) fn begin(mut response: Response<Incoming>, link: Link, seat: Seat, wish: Upgrade, work: Option<Work>) -> Response<Relay> {
    let upstream = hyper::upgrade::on(&mut response);
    let downstream = headers::to_client_upgraded(response.headers_mut(), wish);
    let endpoint = Arc::clone(&seat.endpoint);
    let cuts = seat.cuts();
    let task = tokio::spawn(async move {
        join(downstream, upstream, link, seat).await;
        drop(work);
    });
    endpoint.adopt(task.abort_handle(), cuts);
    response.map(|_| Relay::EMPTY)
}

async fn join(downstream: OnUpgrade, upstream: OnUpgrade, link: Link, _seat: Seat) {
    let Ok((downstream, upstream)) = futures::future::try_join(downstream, upstream).await else { return };
    drop(link);
    let (mut downstream, mut upstream) = (TokioIo::new(downstream), TokioIo::new(upstream));
    // Either side may break off at any time; there is nobody left to tell.
    let _ = tokio::io::copy_bidirectional(&mut downstream, &mut upstream).await;
}
