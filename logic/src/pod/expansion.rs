//! `$(NAME)` in the words of a container, as Kubernetes puts variables in.

use std::collections::BTreeMap;

/// Puts variables in for `$(NAME)`. `$$` is one `$` wherever it stands, so that `$$(NAME)` stands for itself; a name that is not
/// known, a `$(` without an end and any other `$` stay as they are.
pub fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let after = &tail[1..];
        rest = after;
        if let Some(second) = after.strip_prefix('$') {
            out.push('$');
            rest = second;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&tail[..tail.len() - behind.len()]),
            }
            rest = behind;
        } else {
            out.push('$');
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_as_kubernetes_does() {
        let known = [("A", "1"), ("B", "$(A)"), ("", "empty")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (text, expected) in [
            ("x$(A)y", "x1y"),
            ("$(A)$(A)", "11"),
            ("$(B)", "$(A)"),
            ("$(C)", "$(C)"),
            ("$()", "empty"),
            ("$$", "$"),
            ("1$$2", "1$2"),
            ("$$$$", "$$"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$", "$"),
            ("é$", "é$"),
            ("$A", "$A"),
            ("$é", "$é"),
            ("$(A", "$(A"),
            ("$($$", "$($"),
            ("$(A $(A)", "$(A $(A)"),
            ("$((A))", "$((A))"),
        ] {
            assert_eq!(expand(text, &known), expected, "{text}");
        }
    }
}
