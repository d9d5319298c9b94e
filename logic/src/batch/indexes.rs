//! Sets of completion indexes, as statuses of Jobs write them: `1,3-5,7`.

use std::collections::BTreeSet;

/// A set of indexes, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Reads a set; indexes of `below` and more, and what is no index, are left out.
    pub fn parse(text: &str, below: i32) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                all.extend(first.max(0)..=last.min(below.saturating_sub(1)));
            }
        }
        Self(all)
    }

    /// Adds one; whether it was new.
    pub fn insert(&mut self, index: i32) -> bool {
        self.0.insert(index)
    }

    /// Whether it has this one.
    pub fn has(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    /// How many there are.
    pub fn count(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }
}

impl FromIterator<i32> for Indexes {
    fn from_iter<I: IntoIterator<Item = i32>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

/// Two that follow each other are written as `1,2`, three and more as `1-3`.
impl std::fmt::Display for Indexes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut runs: Vec<(i32, i32)> = Vec::new();
        for &index in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(index) => *last = index,
                _ => runs.push((index, index)),
            }
        }
        for (at, (first, last)) in runs.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match last.saturating_sub(first) {
                0 => write!(out, "{comma}{first}")?,
                1 => write!(out, "{comma}{first},{last}")?,
                _ => write!(out, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written_alike() {
        for (text, count) in [("", 0), ("0", 1), ("1,3-5,7", 5), ("0,1", 2), ("0-2", 3), ("0,1,3,4,6-8", 7)] {
            let set = Indexes::parse(text, 100);
            assert_eq!((set.to_string(), set.count()), (text.to_owned(), count));
        }
    }

    #[test]
    fn what_is_no_index_is_left_out() {
        for (text, below, expected) in
            [("a,2,-1,3-x", 9, "2"), ("0-2000000000", 3, "0-2"), ("5-3", 9, ""), ("7", 7, ""), ("0", 0, ""), ("0", i32::MIN, "")]
        {
            assert_eq!(Indexes::parse(text, below).to_string(), expected, "{text}");
        }
    }
}
