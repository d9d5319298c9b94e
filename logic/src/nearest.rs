//! Which known name somebody most likely meant.

/// The candidate nearest to `name`, when one is near enough to be a slip: about a third of its letters differ at most.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = name.chars().count().div_ceil(3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed or swapped with a neighbour to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().take(64).collect();
    let from: Vec<char> = from.chars().take(64).collect();
    let mut rows: [Vec<usize>; 2] = [vec![0; to.len() + 1], (0..=to.len()).collect()];
    for (i, &letter) in from.iter().enumerate() {
        let mut row = vec![i + 1; to.len() + 1];
        for (j, &other) in to.iter().enumerate() {
            let changed = rows[1][j] + usize::from(letter != other);
            let mut best = changed.min(rows[1][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == to[j - 1] && from[i - 1] == other {
                best = best.min(rows[0][j - 1] + 1);
            }
            row[j + 1] = best;
        }
        rows = [std::mem::take(&mut rows[1]), row];
    }
    rows[1].last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_does_not() {
        let known = ["replicas", "containers", "readinessProbe", "name"];
        for (name, meant) in [
            ("replica", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("readinesProbe", Some("readinessProbe")),
            ("nmae", Some("name")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
