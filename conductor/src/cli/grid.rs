//! Text in columns.

const GAP: &str = "  ";
const ABSENT: &str = "<none>";

/// Lines of cells under a header, each column as wide as its widest cell. An empty cell is `<none>`.
pub fn grid(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(&header).chain(rows).map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join(GAP).trim_end())
    };
    rows.iter().map(line).collect()
}

/// One line of text without anything that moves a terminal's cursor.
fn printable(cell: &str) -> String {
    if cell.trim().is_empty() {
        return ABSENT.to_owned();
    }
    cell.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The first `most` letters of a text, the last an ellipsis where there were more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_absent_cells_say_so() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = grid(&["NAME", "STATE", "AGE"], &[row(["shop", "", "5m"]), row(["  größer-1", "Re\nady", "1s"])]);
        assert_eq!(text, "NAME        STATE   AGE\nshop        <none>  5m\n  größer-1  Re ady  1s\n");
        assert_eq!(grid(&["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn a_long_text_is_cut() {
        for (text, most, cut_text) in [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("a bcd", 3, "a…"), ("", 3, "")] {
            assert_eq!(cut(text, most), cut_text);
        }
    }
}
