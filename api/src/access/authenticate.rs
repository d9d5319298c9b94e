//! Who a request is from, by its headers.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::{User, account_tokens, hash, stored_tokens};
use crate::Server;
use crate::status::{Result, Status};

/// Who a request's headers say that it is from. Errors: 401 for a token that is none of ours.
pub async fn authenticate(server: &Server, headers: &HeaderMap) -> Result<User> {
    match bearer(headers) {
        None => Ok(User::anonymous()),
        Some(token) => of_token(server, token, &[]).await?.map(|(user, _)| user).ok_or_else(Status::unauthorized),
    }
}

/// Whose a token is, and for which audiences it was made of those asked for; `None` for a token that is none of ours.
/// Without audiences, it must be for this API.
pub async fn of_token(server: &Server, token: &str, audiences: &[String]) -> Result<Option<(User, Vec<String>)>> {
    if let Some(user) = server.access.load().tokens.get(&hash(token)) {
        return Ok(account_tokens::for_us(audiences).map(|audiences| (user.clone(), audiences)));
    }
    if account_tokens::looks_like_one(token) {
        return account_tokens::user_of(server, token, audiences).await;
    }
    let user = stored_tokens::user_of(server, token).await?;
    Ok(user.and_then(|user| account_tokens::for_us(audiences).map(|audiences| (user, audiences))))
}

/// The token of a bearer header. A header of another scheme, or without a token, says nothing.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_header_carries_a_token() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, text.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer secret").as_deref(), Some("secret"));
        assert_eq!(of("bearer  secret ").as_deref(), Some("secret"));
        for other in ["Bearer ", "Bearer", "Basic c2VjcmV0", "secret", ""] {
            assert_eq!(of(other), None, "{other:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
