//! Pages of long lists.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proto_api::{common::v1alpha1::PageRequest, status::ApiError};

/// Items when the caller does not say how many.
const DEFAULT_SIZE: usize = 100;

/// Most items, whatever the caller says.
const LARGEST_SIZE: usize = 1000;

/// One page of `items`, which are sorted by their keys; and the token of the next page, empty on the last. The token
/// holds the last key, so items that come or go between two calls shift nothing.
///
/// # Errors
/// `InvalidArgument` for a token that is none of ours.
pub(super) fn page<T>(items: Vec<(String, T)>, request: Option<&PageRequest>) -> Result<(Vec<T>, String), ApiError> {
    let (size, token) = request.map_or((0, ""), |request| (request.page_size, request.page_token.as_str()));
    let after = read(token)?;
    let size = match usize::try_from(size) {
        Ok(0) => DEFAULT_SIZE,
        Ok(size) => size.min(LARGEST_SIZE),
        Err(_) => return Err(ApiError::invalid_argument("page_size is negative").with_remedy("send 0 or more")),
    };
    let mut rest = items.into_iter().skip_while(|(key, _)| after.as_ref().is_some_and(|after| key <= after));
    let mut last = String::new();
    let mut page = Vec::new();
    for (key, item) in rest.by_ref().take(size) {
        last = key;
        page.push(item);
    }
    let token = if rest.next().is_some() { URL_SAFE_NO_PAD.encode(&last) } else { String::new() };
    Ok((page, token))
}

fn read(token: &str) -> Result<Option<String>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let unknown = || ApiError::invalid_argument("page_token is none of ours").with_remedy("send next_page_token as it came");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unknown())?;
    String::from_utf8(bytes).map(Some).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn items(names: &[&str]) -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect()
    }

    fn request(page_size: i32, page_token: &str) -> PageRequest {
        PageRequest { page_size, page_token: page_token.to_owned() }
    }

    #[test]
    fn pages_join_into_the_whole_list_also_when_it_changes() {
        let (first, token) = page(items(&["a", "b", "c", "d"]), Some(&request(2, ""))).unwrap();
        assert_eq!(first, ["a", "b"]);
        let (second, token) = page(items(&["a", "c", "d", "e"]), Some(&request(2, &token))).unwrap();
        assert_eq!(second, ["c", "d"]);
        let (third, token) = page(items(&["e"]), Some(&request(2, &token))).unwrap();
        assert_eq!((third, token), (vec!["e".to_owned()], String::new()));
    }

    #[test]
    fn odd_requests_are_refused() {
        assert!(page(items(&[]), Some(&request(-1, ""))).is_err());
        assert!(page(items(&[]), Some(&request(0, "!"))).is_err());
        assert_eq!(page(items(&["a"]), None).unwrap().0, ["a"]);
    }
}
