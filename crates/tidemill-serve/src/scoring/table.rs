//! A table of a request on its way to a model's inputs: columns are found by name, values appended row by row.

use std::collections::HashMap;

use tidemill_runtime::{ElementType, Tensor, Values};

use super::cell::{self, Cell};
use super::failure::Failure;
use super::target::Target;
use crate::oip::json::Reader;
use crate::oip::values::{empty, walk};
use crate::{ModelMetadata, Named};

/// The columns that a model wants, filled as a request is read.
pub(super) struct Table<'m> {
    metadata: &'m ModelMetadata,
    target: Target,
    columns: Vec<Column>,
    by_name: HashMap<String, usize>,
    /// Names of the request that the model does not know.
    extra: Vec<String>,
    rows: usize,
}

struct Column {
    name: String,
    optional: bool,
    /// Whether empty text stands for a missing value.
    is_nullable: bool,
    /// Whether the request has it.
    present: bool,
    rows: usize,
    values: Values,
    /// The shape of one row's value; `None` before the first. Columns of a table have single values.
    cell: Option<Vec<usize>>,
}

impl Column {
    fn new(name: &str, element: ElementType, optional: bool, single: bool) -> Self {
        let cell = single.then(Vec::new);
        let values = empty(element);
        Self { name: name.to_owned(), optional, is_nullable: false, present: false, rows: 0, values, cell }
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::bad(format!("column `{}`: {why}", self.name))
    }

    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Failure> {
        self.rows += 1;
        let is_nullable = self.is_nullable;
        match &self.cell {
            Some(shape) if shape.is_empty() => cell::read(reader, &mut self.values, is_nullable)
                .map_err(|error| self.wrong(&error.to_string())),
            known => {
                let values = &mut self.values;
                let shape = walk(reader, usize::MAX, |reader| cell::read(reader, values, is_nullable));
                match (shape, known) {
                    (Err(error), _) => Err(self.wrong(&error.to_string())),
                    (Ok(shape), Some(known)) if shape != *known => {
                        let why =
                            format!("row {} has the shape {shape:?} and others {known:?}", self.rows - 1);
                        Err(self.wrong(&why))
                    }
                    (Ok(shape), _) => {
                        self.cell = Some(shape);
                        Ok(())
                    }
                }
            }
        }
    }

    /// Missing values up to a row.
    fn fill(&mut self, rows: usize) -> Result<(), Failure> {
        while self.rows < rows {
            if self.cell.as_ref().is_none_or(|cell| !cell.is_empty()) {
                return Err(self.wrong(&format!("row {} has no value", self.rows)));
            }
            self.push(Cell::Missing)?;
        }
        Ok(())
    }

    fn push(&mut self, value: Cell<'_>) -> Result<(), Failure> {
        self.rows += 1;
        cell::push(&mut self.values, value, self.is_nullable)
            .map_err(|why| self.wrong(&format!("row {}: {why}", self.rows - 1)))
    }
}

impl<'m> Table<'m> {
    pub(super) fn new(metadata: &'m ModelMetadata) -> Self {
        let target = Target::of(metadata);
        let element = metadata.inputs.first().map_or(ElementType::F32, |slot| slot.element);
        let mut columns: Vec<Column> = match &target {
            Target::Matrix { names: Some(names), .. } => {
                names.iter().map(|name| Column::new(name, element, false, true)).collect()
            }
            // By position, so the positions are their names.
            Target::Matrix { names: None, width } => {
                (0..width.unwrap_or(0)).map(|at| Column::new(&at.to_string(), element, false, true)).collect()
            }
            Target::Columns | Target::Tensors => {
                let single = matches!(target, Target::Columns);
                let column = |slot: &tidemill_runtime::Slot| {
                    Column::new(&slot.name, slot.element, slot.optional, single)
                };
                metadata.inputs.iter().map(column).collect()
            }
        };
        if metadata.inputs.iter().any(|slot| slot.element == ElementType::Bytes) {
            let nullable = metadata.nullable();
            for column in &mut columns {
                column.is_nullable = nullable.contains(&column.name);
            }
        }
        let by_name = columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        Self { metadata, target, columns, by_name, extra: Vec::new(), rows: 0 }
    }

    fn is_by_position(&self) -> bool {
        matches!(self.target, Target::Matrix { names: None, .. })
    }

    /// Which column each of the request's goes to, of `width` and perhaps with names.
    pub(super) fn header(
        &mut self,
        names: Option<&[String]>,
        width: usize,
    ) -> Result<Vec<Option<usize>>, Failure> {
        let single = matches!(self.target, Target::Columns) && self.columns.len() == 1 && width == 1;
        let by_position = match (&self.target, names) {
            (Target::Matrix { names: None, .. }, _) | (Target::Matrix { .. }, None) => true,
            (_, None) => single,
            (_, Some(_)) => false,
        };
        if by_position {
            self.widen(width)?;
            for column in &mut self.columns {
                column.present = true;
            }
            return Ok((0..width).map(Some).collect());
        }
        let Some(names) = names else {
            self.extra = (0..width).map(|at| at.to_string()).collect();
            return Err(self.missing().unwrap_or_else(|| Failure::bad("the columns have no names")));
        };
        let mut places = Vec::with_capacity(width);
        for name in names {
            let place = self.by_name.get(name.as_str()).copied();
            match place.and_then(|place| self.columns.get_mut(place)) {
                Some(column) if column.present => {
                    return Err(Failure::bad(format!("column `{name}` is given twice")));
                }
                Some(column) => column.present = true,
                None => self.unknown(name),
            }
            places.push(place);
        }
        match self.missing() {
            Some(missing) => Err(missing),
            None => Ok(places),
        }
    }

    /// Takes the request's number of columns where the model leaves it open.
    fn widen(&mut self, width: usize) -> Result<(), Failure> {
        if let Target::Matrix { width: None, .. } = self.target
            && self.columns.is_empty()
        {
            let element = self.metadata.inputs.first().map_or(ElementType::F32, |slot| slot.element);
            self.columns = (0..width).map(|at| Column::new(&at.to_string(), element, false, true)).collect();
        }
        if width == self.columns.len() {
            return Ok(());
        }
        let wants = self.columns.len();
        Err(Failure::schema(format!("the model takes {wants} columns and the request has {width}")))
    }

    fn unknown(&mut self, name: &str) {
        // Enough to see what was meant; there may be many.
        if self.extra.len() < 20 && !self.extra.iter().any(|known| known == name) {
            self.extra.push(name.to_owned());
        }
    }

    /// That columns are missing, where some are.
    fn missing(&self) -> Option<Failure> {
        let absent = self.columns.iter().filter(|column| !column.present && !column.optional);
        let absent: Vec<&str> = absent.map(|column| column.name.as_str()).collect();
        if absent.is_empty() {
            return None;
        }
        let mut message =
            format!("the request does not fit the model's schema: inputs {absent:?} are missing");
        if !self.extra.is_empty() {
            message.push_str(&format!("; {:?} are not known and were left out", self.extra));
        }
        Some(Failure::schema(message))
    }

    /// Reads the next value of the row into a column.
    pub(super) fn read(&mut self, place: usize, reader: &mut Reader<'_>) -> Result<(), Failure> {
        match self.columns.get_mut(place) {
            Some(column) => column.read(reader),
            None => Ok(reader.pass()?),
        }
    }

    /// Appends a value of the row to a column.
    pub(super) fn push(&mut self, place: usize, value: Cell<'_>) -> Result<(), Failure> {
        self.columns.get_mut(place).map_or(Ok(()), |column| column.push(value))
    }

    /// The row is over; columns that had no value in it have a missing one.
    pub(super) fn end_row(&mut self) -> Result<(), Failure> {
        self.rows += 1;
        for column in self.columns.iter_mut().filter(|column| column.present) {
            column.fill(self.rows)?;
        }
        Ok(())
    }

    /// Reads rows that are objects, from their first on. With `strict`, every row must have the same columns.
    pub(super) fn records(&mut self, reader: &mut Reader<'_>, strict: bool) -> Result<(), Failure> {
        if self.is_by_position() {
            // The first row's order is the order of the columns.
            let mut keys = Vec::new();
            reader.clone().object(|reader, key| {
                keys.push(key.to_owned());
                Ok::<_, Failure>(reader.pass()?)
            })?;
            self.header(Some(&keys), keys.len())?;
            self.by_name = keys.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
        }
        // Rows mostly have their keys in one order, so the key at a position is guessed from the row before.
        let mut order: Vec<(String, Option<usize>)> = Vec::new();
        let mut more = true;
        while more {
            let mut position = 0;
            reader.object(|reader, key| {
                let place = match order.get(position) {
                    Some((known, place)) if known == key => *place,
                    _ => {
                        let place = self.by_name.get(key).copied();
                        order.truncate(position);
                        order.push((key.to_owned(), place));
                        place
                    }
                };
                position += 1;
                let Some((place, column)) = place.and_then(|at| Some((at, self.columns.get_mut(at)?))) else {
                    self.unknown(key);
                    return Ok(reader.pass()?);
                };
                if column.rows > self.rows {
                    return Err(Failure::bad(format!("column `{key}` is twice in row {}", self.rows)));
                }
                if column.rows < self.rows {
                    column.fill(self.rows)?;
                }
                column.present = true;
                self.read(place, reader)
            })?;
            self.rows += 1;
            more = reader.next()?;
        }
        if let Some(missing) = self.missing() {
            return Err(missing);
        }
        for column in self.columns.iter_mut().filter(|column| column.present) {
            if strict && column.rows < self.rows {
                return Err(column.wrong("some rows have it and some have not"));
            }
            column.fill(self.rows)?;
        }
        Ok(())
    }

    /// Reads whole columns: an object of arrays. A single value is a column of one row.
    pub(super) fn whole(&mut self, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let by_position = self.is_by_position();
        let slot = self.metadata.inputs.first().map(|slot| slot.name.clone()).unwrap_or_default();
        let mut lengths: Option<usize> = None;
        let mut matrix = false;
        let mut shapes = Vec::new();
        reader.object(|reader, key| {
            if matches!(self.target, Target::Matrix { .. }) && key == slot && !self.by_name.contains_key(key)
            {
                matrix = true;
                return self.array(reader);
            }
            let place = if by_position { None } else { self.by_name.get(key).copied() };
            let Some((place, column)) = place.and_then(|at| Some((at, self.columns.get_mut(at)?))) else {
                self.unknown(key);
                return Ok(reader.pass()?);
            };
            if column.present {
                return Err(Failure::bad(format!("column `{key}` is given twice")));
            }
            column.present = true;
            let (values, is_nullable) = (&mut column.values, column.is_nullable);
            let shape = walk(reader, usize::MAX, |reader| cell::read(reader, values, is_nullable));
            let shape = shape.map_err(|error| column.wrong(&error.to_string()))?;
            column.rows = shape.first().copied().unwrap_or(1);
            if matches!(self.target, Target::Tensors) {
                shapes.push((place, shape));
                return Ok(());
            }
            if shape.iter().skip(1).any(|size| *size != 1) || shape.len() > 2 {
                let message = format!("column `{key}` has the shape {shape:?} and not one value a row");
                return Err(Failure::schema(message));
            }
            if lengths.is_some_and(|length| length != column.rows) {
                return Err(Failure::schema("the columns are of several lengths".to_owned()));
            }
            lengths = Some(column.rows);
            Ok(())
        })?;
        if by_position && !matrix {
            let message = "the model does not name its columns; send rows or an array".to_owned();
            return Err(Failure::schema(message));
        }
        if let Some(missing) = self.missing().filter(|_| !matrix) {
            return Err(missing);
        }
        for (place, mut shape) in shapes {
            if let Some(column) = self.columns.get_mut(place) {
                if !shape.is_empty() {
                    shape.remove(0);
                }
                column.cell = Some(shape);
            }
        }
        self.rows = self.rows.max(lengths.unwrap_or(0));
        Ok(())
    }

    /// Reads an array without names: the model's one input.
    pub(super) fn array(&mut self, reader: &mut Reader<'_>) -> Result<(), Failure> {
        let element = match self.metadata.inputs.as_slice() {
            [slot] => slot.element,
            _ => {
                let missing = self.missing();
                return Err(
                    missing.unwrap_or_else(|| Failure::schema("the array has no column names".to_owned()))
                );
            }
        };
        let mut values = empty(element);
        // Of a matrix of text each value may be missing where each column's may.
        let is_nullable = !self.columns.is_empty() && self.columns.iter().all(|column| column.is_nullable);
        let shape = walk(reader, usize::MAX, |reader| cell::read(reader, &mut values, is_nullable))?;
        if let Target::Matrix { width, .. } = self.target {
            let [rows, given] = shape.as_slice() else {
                return Err(Failure::schema(format!(
                    "the model takes a matrix and the array has the shape {shape:?}"
                )));
            };
            if width.is_some_and(|width| width != *given) && *rows > 0 {
                let wants = width.unwrap_or(0);
                return Err(Failure::schema(format!(
                    "the model takes {wants} columns and the array has {given}"
                )));
            }
            self.rows = *rows;
            // Whole already: one column that is the matrix.
            let mut column = Column::new("", element, false, false);
            (column.present, column.rows, column.values, column.cell) =
                (true, *rows, values, Some(vec![width.unwrap_or(*given)]));
            self.columns = vec![column];
            return Ok(());
        }
        let single = matches!(self.target, Target::Columns);
        let Some(column) = self.columns.first_mut() else { return Ok(()) };
        if single && (shape.len() > 2 || shape.iter().skip(1).any(|size| *size != 1)) {
            return Err(Failure::schema(format!(
                "the model takes one column and the array has the shape {shape:?}"
            )));
        }
        column.present = true;
        column.rows = shape.first().copied().unwrap_or(1);
        column.values = values;
        if !single {
            column.cell = Some(shape.get(1..).unwrap_or_default().to_vec());
        }
        self.rows = column.rows;
        Ok(())
    }

    /// The model's inputs.
    pub(super) fn finish(self) -> Result<Vec<Named>, Failure> {
        let wrong = |error: tidemill_runtime::TensorError| Failure::bad(error.to_string());
        let slots = self.metadata.inputs.iter();
        if let (Target::Matrix { .. }, [slot]) = (&self.target, self.metadata.inputs.as_slice()) {
            let whole = self.columns.first().and_then(|column| column.cell.as_ref()?.first().copied());
            let (width, values) = match whole {
                Some(width) => (width, self.columns.into_iter().next().map(|column| column.values)),
                None => {
                    let width = self.columns.len();
                    (
                        width,
                        Some(interleave(slot.element, self.columns.into_iter().map(|column| column.values))),
                    )
                }
            };
            let values = values.unwrap_or_else(|| empty(slot.element));
            let tensor = Tensor::new(vec![self.rows, width], values).map_err(wrong)?;
            return Ok(vec![Named { name: slot.name.clone(), tensor }]);
        }
        let mut inputs = Vec::with_capacity(self.columns.len());
        for (slot, column) in slots.zip(self.columns).filter(|(_, column)| column.present) {
            let mut shape = vec![column.rows];
            shape.extend(column.cell.unwrap_or_default());
            if self.metadata.is_tabular && slot.shape.len() == 2 {
                shape.push(1);
            }
            inputs
                .push(Named { name: column.name, tensor: Tensor::new(shape, column.values).map_err(wrong)? });
        }
        Ok(inputs)
    }
}

/// Columns of one length as the rows of a matrix.
fn interleave(element: ElementType, columns: impl Iterator<Item = Values>) -> Values {
    let columns: Vec<Values> = columns.collect();
    macro_rules! each {
        ($($kind:ident),*) => {
            match element {
                $(ElementType::$kind => {
                    let columns: Vec<_> = columns
                        .into_iter()
                        .map(|column| if let Values::$kind(vector) = column { vector } else { Vec::new() })
                        .collect();
                    Values::$kind(rows(columns))
                })*
            }
        };
    }
    each!(Bool, U8, U16, U32, U64, I8, I16, I32, I64, F16, Bf16, F32, F64, Bytes)
}

fn rows<T>(columns: Vec<Vec<T>>) -> Vec<T> {
    let count = columns.first().map_or(0, Vec::len);
    let mut out = Vec::with_capacity(count * columns.len());
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for _ in 0..count {
        out.extend(columns.iter_mut().filter_map(Iterator::next));
    }
    out
}
