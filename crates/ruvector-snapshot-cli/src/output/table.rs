//! Tables that fit a terminal. A row is never wrapped: what does not fit is shortened, and the least important columns are
//! left out. In a pipe everything is printed whole.

use super::style::{Text, Tone};
use super::text::{fitted, fitted_end, width};

/// Columns of the terminal between two columns of a table.
const GAP: usize = 2;
/// Columns that are left of a cell that is shortened as far as it can be.
const CELL_MIN: usize = 3;
/// In a pipe, cells that a terminal would shorten are whole, and the rows with shorter ones are aligned to so many columns.
const ALIGNED_MAX: usize = 40;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    is_number: bool,
    /// The lower, the more important. A column of rank 0 is never left out.
    rank: u8,
    /// How short its cells may be made, and whether their ends are kept.
    shortened: Option<(usize, bool)>,
}

impl Column {
    /// Returns a column that is always there.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, is_number: false, rank: 0, shortened: None }
    }

    /// Aligns the cells to the right.
    #[must_use]
    pub(crate) const fn number(self) -> Self {
        Self { is_number: true, ..self }
    }

    /// Leaves the column out before those of a lower rank.
    #[must_use]
    pub(crate) const fn rank(self, rank: u8) -> Self {
        Self { rank, ..self }
    }

    /// Cuts cells at their end, to so many columns of the terminal at least.
    #[must_use]
    pub(crate) const fn cut_to(self, columns: usize) -> Self {
        Self { shortened: Some((columns, false)), ..self }
    }

    /// As [`cut_to`](Self::cut_to), but keeps the ends, in which paths differ.
    #[must_use]
    pub(crate) const fn cut_start_to(self, columns: usize) -> Self {
        Self { shortened: Some((columns, true)), ..self }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// Gives the cell a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: super::plain(&text.into()), tone: None }
    }
}

/// A table with a head.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Leaves out optional columns in which nothing is.
    pub(crate) fn without_empty(mut self) -> Self {
        for at in (0..self.columns.len()).rev() {
            let is_empty = |row: &Vec<Cell>| row.get(at).is_none_or(|cell| cell.text.is_empty());
            if self.columns.get(at).is_some_and(|column| column.rank > 0) && self.rows.iter().all(is_empty) {
                self.columns.remove(at);
                self.rows.iter_mut().filter(|row| at < row.len()).for_each(|row| drop(row.remove(at)));
            }
        }
        self
    }

    /// Returns the lines of the table on a terminal of so many columns.
    pub(super) fn lines(&self, columns_max: Option<usize>) -> Vec<Text> {
        let widths = self.widths(columns_max);
        let titles = self.columns.iter().map(|column| Cell::toned(column.title, Tone::Heading)).collect();
        std::iter::once(&titles).chain(&self.rows).map(|row| self.line(row, &widths, columns_max.is_some())).collect()
    }

    fn line(&self, row: &[Cell], widths: &[Option<usize>], is_fitted: bool) -> Text {
        let mut line = Text::default();
        let mut is_first = true;
        let mut padding = 0;
        for ((cell, column), columns) in row.iter().zip(&self.columns).zip(widths) {
            let Some(columns) = *columns else { continue };
            padding += if std::mem::take(&mut is_first) { 0 } else { GAP };
            let text = match column.shortened {
                _ if !is_fitted => cell.text.clone(),
                Some((_, true)) => fitted_end(&cell.text, columns),
                _ => fitted(&cell.text, columns),
            };
            let rest = columns.saturating_sub(width(&text));
            if column.is_number {
                padding += rest;
            }
            if !text.is_empty() {
                line = line.add(" ".repeat(std::mem::take(&mut padding)));
                line = match cell.tone {
                    Some(tone) => line.tone(tone, text),
                    None => line.add(text),
                };
            }
            if !column.is_number {
                padding += rest;
            }
        }
        line
    }

    /// Returns how wide each column is, and `None` for those that are left out.
    fn widths(&self, columns_max: Option<usize>) -> Vec<Option<usize>> {
        let whole: Vec<usize> = (0..self.columns.len()).map(|at| self.whole_width(at)).collect();
        let Some(columns_max) = columns_max else {
            let aligned = |(column, whole): (&Column, usize)| match column.shortened {
                Some(_) => Some(whole.min(ALIGNED_MAX)),
                None => Some(whole),
            };
            return self.columns.iter().zip(whole).map(aligned).collect();
        };
        let shortest = self.columns.iter().zip(&whole).map(|(column, whole)| match column.shortened {
            Some((columns, _)) => (*whole).min(columns.max(width(column.title))),
            None => *whole,
        });
        let mut widths: Vec<Option<usize>> = shortest.map(Some).collect();
        while room(&widths, columns_max).is_none() {
            let ranks = self.columns.iter().zip(&widths).enumerate().filter(|(_, (_, width))| width.is_some());
            let least = ranks.map(|(at, (column, _))| (column.rank, at)).filter(|(rank, _)| *rank > 0).max();
            match least.and_then(|(_, at)| widths.get_mut(at)) {
                Some(width) => *width = None,
                None => {
                    self.squeeze(&mut widths, columns_max);
                    return widths;
                }
            }
        }
        self.widen(&mut widths, &whole, columns_max);
        widths
    }

    /// Shortens columns from the last one on, because nothing can be left out: to their titles, and if that is not enough, as far
    /// as something of them is left.
    fn squeeze(&self, widths: &mut [Option<usize>], columns_max: usize) {
        self.squeeze_to(|column| width(column.title).max(CELL_MIN), widths, columns_max);
        self.squeeze_to(|_| CELL_MIN, widths, columns_max);
    }

    fn squeeze_to(&self, least: impl Fn(&Column) -> usize, widths: &mut [Option<usize>], columns_max: usize) {
        for at in (0..widths.len()).rev() {
            let surplus = needed(widths).saturating_sub(columns_max);
            let least = self.columns.get(at).filter(|column| column.shortened.is_some()).map(&least);
            if let (Some(Some(width)), Some(least)) = (widths.get_mut(at), least) {
                *width = (*width).min(width.saturating_sub(surplus).max(least));
            }
        }
    }

    /// Gives what room is left to the columns that were shortened, to the most important ones first.
    fn widen(&self, widths: &mut [Option<usize>], whole: &[usize], columns_max: usize) {
        let mut order: Vec<usize> = (0..widths.len()).collect();
        order.sort_by_key(|at| self.columns.get(*at).map(|column| column.rank));
        for at in order {
            let room = room(widths, columns_max).unwrap_or(0);
            if let (Some(Some(width)), Some(whole)) = (widths.get_mut(at), whole.get(at)) {
                *width = (*whole).min(*width + room);
            }
        }
    }

    fn whole_width(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text));
        let title = self.columns.get(at).map_or(0, |column| width(column.title));
        cells.max().unwrap_or(0).max(title)
    }
}

/// Returns how many columns of the terminal are left, or `None` if it has too few.
fn room(widths: &[Option<usize>], columns_max: usize) -> Option<usize> {
    columns_max.checked_sub(needed(widths))
}

/// Returns how many columns of the terminal these columns need.
fn needed(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten().count();
    widths.iter().flatten().sum::<usize>() + GAP * shown.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            Column::new("ID"),
            Column::new("NAME").cut_to(6),
            Column::new("SIZE").number(),
            Column::new("NOTE").rank(2).cut_to(4),
            Column::new("HOST").rank(1),
        ];
        let mut table = Table::new(columns);
        table.add(["20260131", "a very long name", "1 B", "a long note", "db1"].map(Cell::from));
        table.add(["20260132", "short", "1000 B", "", ""].map(Cell::from));
        table
    }

    fn printed(columns: Option<usize>) -> Vec<String> {
        table().lines(columns).into_iter().map(|line| line.plain).collect()
    }

    #[test]
    fn a_table_in_a_pipe_is_whole() {
        let lines = [
            "ID        NAME                SIZE  NOTE         HOST",
            "20260131  a very long name     1 B  a long note  db1",
            "20260132  short             1000 B",
        ];
        assert_eq!(printed(None), lines);
        assert_eq!(printed(Some(60)), lines);
    }

    #[test]
    fn a_very_long_cell_in_a_pipe_does_not_move_the_other_rows() {
        let mut table = table();
        table.add(["20260133", &"x".repeat(50), "2 B", "", ""].map(Cell::from));
        let lines: Vec<_> = table.lines(None).into_iter().map(|line| line.plain).collect();
        assert_eq!(lines[2], format!("20260132  short{}1000 B", " ".repeat(37)));
        assert_eq!(lines[3], format!("20260133  {}     2 B", "x".repeat(50)));
    }

    #[test]
    fn a_table_shortens_and_then_leaves_out_the_least_important_columns() {
        assert_eq!(printed(Some(50))[1], "20260131  a very long name     1 B  a long …  db1");
        assert_eq!(printed(Some(38))[1], "20260131  a very …     1 B  a l…  db1");
        assert_eq!(printed(Some(32))[1], "20260131  a very …     1 B  db1");
        assert_eq!(printed(Some(26))[1], "20260131  a very …     1 B");
        for columns in 24..70 {
            let lines = printed(Some(columns));
            assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
        }
    }

    #[test]
    fn a_title_is_cut_last() {
        let mut table = Table::new([
            Column::new("ID"),
            Column::new("NAME").cut_to(10),
            Column::new("SOURCE").cut_start_to(10),
            Column::new("STORED"),
        ]);
        table.add(["20260131", "a very long name", "db1:/srv/articles.db", "1000.00 MiB"].map(Cell::from));
        let printed = |columns| table.lines(Some(columns)).into_iter().map(|line| line.plain).collect::<Vec<_>>();
        assert_eq!(printed(41)[0], "ID        NAME        SOURCE  STORED");
        assert_eq!(printed(36)[0], "ID        NAME   SOURCE  STORED");
        assert_eq!(printed(36)[1], "20260131  a ve…  …es.db  1000.00 MiB");
        assert_eq!(printed(35)[0], "ID        NAME  SOURCE  STORED");
        // Less would not fit the terminal.
        assert_eq!(printed(34)[0], "ID        NAME  …URCE  STORED");
        assert!((31..60).all(|columns| printed(columns).iter().all(|line| width(line) <= columns)));
    }

    #[test]
    fn columns_without_anything_can_be_left_out() {
        let mut table = Table::new([Column::new("ID"), Column::new("NOTE").rank(1)]);
        table.add(["1".into(), "".into()]);
        let lines: Vec<_> = table.without_empty().lines(None).into_iter().map(|line| line.plain).collect();
        assert_eq!(lines, ["ID", "1"]);
    }
}
