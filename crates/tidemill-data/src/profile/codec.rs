//! Profiles as bytes: a frame with version and checksum around the compressed body. Only this file knows the layout.
//!
//! Frame: `TMPF`, version (2 bytes), length of the body (4 bytes), XXH3 of the body (8 bytes), the body by zstd. Numbers
//! are little-endian. The sum tells damage from the start; what a body says is checked all the same, since a sum is no
//! proof of who wrote it.
//!
//! Version 1 has every register of a sketch of different values. Version 2 has those alone that are not 0 where they are
//! few: those of an hour were most of a profile's bytes and of the time to read it. Version 3 has every column beside the target, version 4
//! the words of texts, version 5 a sample of rows.

use std::collections::BTreeMap;

use twox_hash::XxHash3_64;

use super::Profile;
use super::association::{Associations, Beside, LEVELS};
use super::bytes::{Read, Reader, Writer};
use super::column::ColumnProfile;
use super::frequent::{Frequent, Sample};
use super::grid::{BINS, Grid, NARROWEST, WIDEST};
use super::hll::{Few, Hll, REGISTERS};
use super::kll::Kll;
use super::moments::{CoMoments, Moments};
use super::numbers::{Bins, Numbers};
use super::relations::{Key, MOST_CORRELATED, Relations};
use super::rows::{MOST_COLUMNS, MOST_ROWS, RowSample};
use super::words::Words;
use crate::ColumnType;

const MAGIC: &[u8; 4] = b"TMPF";
const VERSION: u16 = 5;
const OLDEST: u16 = 1;
/// Largest body that is unpacked.
const LARGEST: usize = 256 << 20;
const FRAME: usize = 18;
const TYPES: [ColumnType; 7] = [
    ColumnType::Int,
    ColumnType::Float,
    ColumnType::String,
    ColumnType::Bool,
    ColumnType::Timestamp,
    ColumnType::Date,
    ColumnType::Other,
];

pub(super) fn write(profile: &Profile) -> Vec<u8> {
    let body = write_body(profile, VERSION);
    let mut bytes = Vec::with_capacity(FRAME + body.len() / 2);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&XxHash3_64::oneshot(&body).to_le_bytes());
    // Compressing memory into memory at a valid level does not fail; an empty body is refused when it is read.
    bytes.extend(compress(&body).unwrap_or_default());
    bytes
}

/// The body as a version has it: 3 or the present one.
fn write_body(profile: &Profile, version: u16) -> Vec<u8> {
    let mut body = Writer::default();
    body.number(profile.rows);
    body.number(profile.columns.len() as u64);
    for column in &profile.columns {
        write_column(&mut body, column, version);
    }
    body.option(profile.relations.as_ref(), write_relations);
    if version > 4 {
        body.option(profile.sample.as_ref(), write_sample_of_rows);
    }
    body.0
}

/// Bodies are numbers: short repetitions in them are chance, save nothing and cost as much to unpack as all the rest.
fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::MinMatch(7))?;
    compressor.compress(body)
}

pub(super) fn read(bytes: &[u8]) -> Read<Profile> {
    let mut frame = Reader(bytes);
    if frame.take(4)? != MAGIC {
        return Err("it is none".to_owned());
    }
    let version = u16::from(frame.byte()?) | u16::from(frame.byte()?) << 8;
    if !(OLDEST..=VERSION).contains(&version) {
        return Err(format!(
            "it is of version {version}, and this program reads the versions {OLDEST} to {VERSION}"
        ));
    }
    let length = frame.take(4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
    let sum = frame.word()?;
    if length > LARGEST {
        return Err(format!("it is said to be {length} bytes long"));
    }
    let body = zstd::bulk::decompress(frame.0, length).map_err(|_| "it is damaged".to_owned())?;
    if body.len() != length || XxHash3_64::oneshot(&body) != sum {
        return Err("it is damaged".to_owned());
    }
    read_version(&body, version)
}

/// Reads a body whose frame is taken off; the fuzzer gets past the checksum here.
pub(crate) fn read_body(body: &[u8]) -> Read<Profile> {
    read_version(body, VERSION)
}

fn read_version(body: &[u8], version: u16) -> Read<Profile> {
    let mut body = Reader(body);
    let rows = body.number()?;
    let columns = body.many(16, |from| read_column(from, version))?;
    let count = columns.len() as u32;
    let relations = body.option(|body| read_relations(body, count, version))?;
    let sample = if version > 4 { body.option(|body| read_sample_of_rows(body, count))? } else { None };
    if !body.0.is_empty() {
        return Err(format!("{} bytes follow its end", body.0.len()));
    }
    Ok(Profile { rows, columns, relations, sample })
}

fn write_column(out: &mut Writer, column: &ColumnProfile, version: u16) {
    out.text(&column.name);
    out.byte(TYPES.iter().position(|&kind| kind == column.column_type).unwrap_or(6) as u8);
    out.text(&column.data_type);
    out.number(column.count);
    out.number(column.nulls);
    out.option(column.min.as_ref(), write_sample);
    out.option(column.max.as_ref(), write_sample);
    write_numbers(out, &column.numbers);
    write_frequent(out, &column.frequent);
    out.option(column.distinct.as_ref(), write_hll);
    out.option(column.masks.as_ref(), write_frequent);
    if version > 3 {
        out.option(column.words.as_ref(), write_words);
    }
}

fn write_words(out: &mut Writer, words: &Words) {
    let (limit, bound, rows, counts) = words.parts();
    out.number(limit as u64);
    out.word(bound);
    out.number(rows);
    out.number(counts.len() as u64);
    for (hash, count) in counts {
        out.word(hash);
        out.number(count);
    }
}

fn read_words(from: &mut Reader<'_>) -> Read<Words> {
    let limit = usize::try_from(from.number()?).unwrap_or(usize::MAX);
    let (bound, rows) = (from.word()?, from.number()?);
    let counts = from.many(9, |from| Ok((from.word()?, from.number()?.min(u64::from(u32::MAX) << 16))))?;
    Words::from_parts(limit, bound, rows, counts)
        .ok_or_else(|| "words of texts are not those of one".to_owned())
}

fn read_column(from: &mut Reader<'_>, version: u16) -> Read<ColumnProfile> {
    let name = from.text()?.to_owned();
    let kind = usize::from(from.byte()?);
    let column = ColumnProfile {
        name,
        column_type: *TYPES.get(kind).ok_or_else(|| format!("there is no type {kind}"))?,
        data_type: from.text()?.to_owned(),
        count: from.number()?,
        nulls: from.number()?,
        min: from.option(read_sample)?,
        max: from.option(read_sample)?,
        numbers: read_numbers(from)?,
        frequent: read_frequent(from)?,
        distinct: from.option(|from| read_hll(from, version))?,
        masks: from.option(read_frequent)?,
        words: if version > 3 { from.option(read_words)? } else { None },
    };
    if column.frequent.error() > 0 && column.distinct.is_none() {
        return Err(format!("the column `{}` has no count of its values", column.name));
    }
    Ok(column)
}

/// A number of registers, a bit for each that is not 0 and the values of those; or 0 and all of them.
fn write_hll(out: &mut Writer, sketch: &Hll) {
    let few = sketch.few();
    if few.values.is_empty() || few.values.len() > REGISTERS / 2 {
        out.number(0);
        out.0.extend_from_slice(&sketch.all());
        return;
    }
    out.number(few.values.len() as u64);
    few.used.iter().for_each(|word| out.word(*word));
    out.0.extend(few.values);
}

fn read_hll(from: &mut Reader<'_>, version: u16) -> Read<Hll> {
    let count = if version == 1 { 0 } else { from.length(1)? };
    let sketch = if count == 0 {
        Hll::from_all(from.take(REGISTERS)?.to_vec())
    } else {
        let (words, _) = from.take(8 * Few::WORDS)?.as_chunks();
        let used = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        Hll::from_few(Few { used, values: from.take(count)?.to_vec() })
    };
    sketch.ok_or_else(|| "a sketch of different values is not one".to_owned())
}

fn write_sample(out: &mut Writer, sample: &Sample) {
    match sample {
        Sample::Int(value) => {
            out.byte(0);
            out.signed(*value);
        }
        Sample::Float(value) => {
            out.byte(1);
            out.float(*value);
        }
        Sample::Text(text) => {
            out.byte(2);
            out.text(text);
        }
    }
}

fn read_sample(from: &mut Reader<'_>) -> Read<Sample> {
    Ok(match from.byte()? {
        0 => Sample::Int(from.signed()?),
        1 => Sample::Float(from.float()?),
        2 => Sample::Text(from.text()?.into()),
        other => return Err(format!("there is no kind of value {other}")),
    })
}

fn write_numbers(out: &mut Writer, numbers: &Numbers) {
    let counters =
        [numbers.nan, numbers.positive_infinite, numbers.negative_infinite, numbers.zero, numbers.negative];
    counters.into_iter().for_each(|count| out.number(count));
    out.option(numbers.least, Writer::float);
    out.option(numbers.greatest, Writer::float);
    let moments = &numbers.moments;
    out.number(moments.count);
    [moments.mean, moments.m2, moments.m3, moments.m4].into_iter().for_each(|value| out.float(value));
    let (k, coin, variance, levels) = numbers.quantiles.parts();
    out.number(u64::from(k));
    out.word(coin);
    out.float(variance);
    out.number(levels.len() as u64);
    for level in levels {
        write_floats(out, level);
    }
    let grid = &numbers.grid;
    out.signed(i64::from(grid.exponent));
    out.signed(grid.first);
    write_counts(out, &grid.counts);
    out.option(numbers.bins.as_ref(), |out, bins| {
        write_floats(out, &bins.edges);
        write_counts(out, &bins.counts);
        out.float(bins.low);
        out.float(bins.high);
        out.number(bins.outside);
    });
}

fn read_numbers(from: &mut Reader<'_>) -> Read<Numbers> {
    let mut counters = [0; 5];
    for counter in &mut counters {
        *counter = from.number()?;
    }
    let [nan, positive_infinite, negative_infinite, zero, negative] = counters;
    let (least, greatest) = (from.option(Reader::float)?, from.option(Reader::float)?);
    let moments = Moments {
        count: from.number()?,
        mean: from.float()?,
        m2: from.float()?,
        m3: from.float()?,
        m4: from.float()?,
    };
    let k = u16::try_from(from.number()?).map_err(|_| "a sketch is too large".to_owned())?;
    let coin = from.word()?;
    let variance = from.float()?;
    let levels = from.many(1, read_floats)?;
    let quantiles = Kll::from_parts(k, coin, variance, levels)
        .ok_or_else(|| "a quantile sketch is not one".to_owned())?;
    let grid = read_grid(from)?;
    let bins = from.option(|from| {
        let bins = Bins {
            edges: read_floats(from)?,
            counts: read_counts(from)?,
            low: from.float()?,
            high: from.float()?,
            outside: from.number()?,
        };
        let ascending = bins.edges.is_sorted_by(|a, b| a < b);
        if bins.counts.len() != bins.edges.len() + 1 || !ascending {
            return Err("bins do not fit their edges".to_owned());
        }
        Ok(bins)
    })?;
    Ok(Numbers {
        nan,
        positive_infinite,
        negative_infinite,
        zero,
        negative,
        least,
        greatest,
        moments,
        quantiles,
        grid,
        bins,
    })
}

fn read_grid(from: &mut Reader<'_>) -> Read<Grid> {
    let grid = Grid {
        exponent: i32::try_from(from.signed()?).map_err(|_| "a histogram is too wide".to_owned())?,
        first: from.signed()?,
        counts: read_counts(from)?,
    };
    // The bins' numbers are those of exact floats.
    let exact = grid.first.unsigned_abs() <= 1 << 52;
    if !exact || grid.counts.len() > BINS || !(NARROWEST..=WIDEST).contains(&grid.exponent) {
        return Err("a histogram is not one".to_owned());
    }
    Ok(grid)
}

fn write_floats(out: &mut Writer, values: &[f64]) {
    out.number(values.len() as u64);
    values.iter().for_each(|&value| out.float(value));
}

fn read_floats(from: &mut Reader<'_>) -> Read<Vec<f64>> {
    let count = from.length(8)?;
    let (values, _) = from.take(8 * count)?.as_chunks();
    Ok(values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

fn write_counts(out: &mut Writer, counts: &[u64]) {
    out.number(counts.len() as u64);
    counts.iter().for_each(|&count| out.number(count));
}

fn read_counts(from: &mut Reader<'_>) -> Read<Vec<u64>> {
    from.many(1, Reader::number)
}

fn write_frequent(out: &mut Writer, frequent: &Frequent) {
    let (limit, error, counts) = frequent.parts();
    out.number(limit as u64);
    out.number(error);
    out.number(counts.len() as u64);
    for (hash, count, value) in counts {
        out.word(hash);
        out.number(count);
        write_sample(out, value);
    }
}

fn read_frequent(from: &mut Reader<'_>) -> Read<Frequent> {
    let limit = usize::try_from(from.number()?.min(1 << 20)).unwrap_or(1 << 20);
    let error = from.number()?;
    let counts = from.many(11, |from| Ok((from.word()?, from.number()?, read_sample(from)?)))?;
    Ok(Frequent::from_parts(limit, error, counts))
}

fn write_relations(out: &mut Writer, relations: &Relations) {
    out.number(relations.null_together.len() as u64);
    for (&(a, b), &rows) in &relations.null_together {
        out.number(u64::from(a));
        out.number(u64::from(b));
        out.number(rows);
    }
    write_places(out, &relations.numeric);
    relations.pairs.iter().for_each(|pair| write_pair(out, pair));
    out.option(relations.key.as_ref(), |out, key| {
        write_places(out, &key.columns);
        out.number(key.rows);
        out.option(key.exact, Writer::number);
        out.number(key.least);
        write_hll(out, &key.distinct);
    });
    out.option(relations.associations.as_ref(), |out, associations| {
        out.number(u64::from(associations.target));
        out.number(associations.columns.len() as u64);
        for (place, beside) in &associations.columns {
            out.number(u64::from(*place));
            write_beside(out, beside.as_ref());
        }
    });
}

fn write_pair(out: &mut Writer, pair: &CoMoments) {
    out.number(pair.count);
    let floats = [pair.means[0], pair.means[1], pair.squares[0], pair.squares[1], pair.product];
    floats.into_iter().for_each(|value| out.float(value));
}

fn read_pair(from: &mut Reader<'_>) -> Read<CoMoments> {
    Ok(CoMoments {
        count: from.number()?,
        means: [from.float()?, from.float()?],
        squares: [from.float()?, from.float()?],
        product: from.float()?,
    })
}

fn write_beside(out: &mut Writer, beside: Option<&Beside>) {
    match beside {
        None => out.byte(0),
        Some(Beside::Numbers(pair)) => {
            out.byte(1);
            write_pair(out, pair);
        }
        Some(Beside::Groups { of_target, groups }) => {
            out.byte(2 + u8::from(*of_target));
            out.number(groups.len() as u64);
            for (hash, numbers) in groups {
                out.word(*hash);
                numbers.iter().for_each(|number| out.float(*number));
            }
        }
        Some(Beside::Counts(counts)) => {
            out.byte(4);
            out.number(counts.len() as u64);
            for ((column, target), count) in counts {
                out.word(*column);
                out.word(*target);
                out.number(*count);
            }
        }
    }
}

fn read_beside(from: &mut Reader<'_>) -> Read<Option<Beside>> {
    Ok(match from.byte()? {
        0 => None,
        1 => Some(Beside::Numbers(read_pair(from)?)),
        kind @ (2 | 3) => {
            let groups: BTreeMap<u64, [f64; 3]> = from
                .many(32, |from| Ok((from.word()?, [from.float()?, from.float()?, from.float()?])))?
                .into_iter()
                .collect();
            if groups.len() > LEVELS {
                return Err(format!("{} groups are set beside the target", groups.len()));
            }
            Some(Beside::Groups { of_target: kind == 3, groups })
        }
        4 => {
            let counts: BTreeMap<(u64, u64), u64> = from
                .many(17, |from| {
                    Ok(((from.word()?, from.word()?), from.number()?.min(u64::from(u32::MAX) << 16)))
                })?
                .into_iter()
                .collect();
            if counts.len() > LEVELS * LEVELS {
                return Err(format!("{} pairs of categories are counted", counts.len()));
            }
            Some(Beside::Counts(counts))
        }
        other => return Err(format!("there is no kind of association {other}")),
    })
}

fn read_relations(from: &mut Reader<'_>, columns: u32, version: u16) -> Read<Relations> {
    let null_together: BTreeMap<(u32, u32), u64> = from
        .many(3, |from| Ok(((read_place(from, columns)?, read_place(from, columns)?), from.number()?)))?
        .into_iter()
        .collect();
    let numeric = from.many(1, |from| read_place(from, columns))?;
    if numeric.len() > MOST_CORRELATED {
        return Err(format!("{} columns are correlated", numeric.len()));
    }
    let pairs = (0..numeric.len() * numeric.len().saturating_sub(1) / 2)
        .map(|_| read_pair(from))
        .collect::<Read<Vec<_>>>()?;
    let key = from.option(|from| {
        Ok(Key {
            columns: from.many(1, |from| read_place(from, columns))?,
            rows: from.number()?,
            exact: from.option(Reader::number)?,
            least: from.number()?,
            distinct: read_hll(from, version)?,
        })
    })?;
    let associations = match version {
        1 | 2 => None,
        _ => from.option(|from| {
            let target = read_place(from, columns)?;
            Ok(Associations {
                target,
                columns: from.many(2, |from| Ok((read_place(from, columns)?, read_beside(from)?)))?,
            })
        })?,
    };
    Ok(Relations { null_together, numeric, pairs, key, associations })
}

fn write_sample_of_rows(out: &mut Writer, sample: &RowSample) {
    out.number(sample.most as u64);
    write_places(out, &sample.columns);
    sample.numbers.iter().for_each(|&number| out.byte(u8::from(number)));
    out.number(sample.priorities.len() as u64);
    sample.priorities.iter().for_each(|&priority| out.word(priority));
    for cell in sample.cells.iter().flatten() {
        out.0.extend_from_slice(&cell.to_le_bytes());
    }
}

fn read_sample_of_rows(from: &mut Reader<'_>, columns: u32) -> Read<RowSample> {
    let most = usize::try_from(from.number()?).unwrap_or(usize::MAX);
    if most > MOST_ROWS {
        return Err(format!("it has a sample of {most} rows"));
    }
    let columns = from.many(1, |from| read_place(from, columns))?;
    if columns.len() > MOST_COLUMNS {
        return Err(format!("{} columns are sampled", columns.len()));
    }
    let numbers = columns.iter().map(|_| Ok(from.byte()? != 0)).collect::<Read<Vec<bool>>>()?;
    let priorities = from.many(8, Reader::word)?;
    if priorities.len() > most {
        return Err(format!("it has {} rows in a sample of {most}", priorities.len()));
    }
    let mut cells = Vec::with_capacity(columns.len());
    for _ in &columns {
        let (column, _) = from.take(4 * priorities.len())?.as_chunks();
        cells.push(column.iter().map(|cell| u32::from_le_bytes(*cell)).collect());
    }
    Ok(RowSample { most, columns, numbers, priorities, cells })
}

fn write_places(out: &mut Writer, places: &[u32]) {
    out.number(places.len() as u64);
    places.iter().for_each(|&place| out.number(u64::from(place)));
}

fn read_place(from: &mut Reader<'_>, columns: u32) -> Read<u32> {
    let place = from.number()?;
    u32::try_from(place)
        .ok()
        .filter(|place| *place < columns)
        .ok_or_else(|| format!("there is no column {place}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};

    use super::*;
    use crate::ProfileOptions;
    use crate::hash::word;
    use crate::profile::ProfileBuilder;

    fn sketch(values: u64) -> Hll {
        let mut sketch = Hll::default();
        (0..values).for_each(|value| sketch.insert(word(value, 1)));
        sketch
    }

    #[test]
    fn sketches_of_few_values_are_short_and_all_come_back() {
        for (values, longest) in [(0, REGISTERS + 1), (1, 2050), (2000, 4050), (50_000, REGISTERS + 1)] {
            let sketch = sketch(values);
            let mut out = Writer::default();
            write_hll(&mut out, &sketch);
            assert!(out.0.len() <= longest, "{values}: {}", out.0.len());
            let mut from = Reader(&out.0);
            assert_eq!(read_hll(&mut from, VERSION).unwrap(), sketch);
            assert!(from.0.is_empty());
            // As the first version has them.
            assert_eq!(read_hll(&mut Reader(&sketch.all()), 1).unwrap(), sketch);
        }
    }

    #[test]
    fn profiles_of_the_version_before_are_read_without_words() {
        let options = ProfileOptions { exact_values: 1, ..ProfileOptions::window() };
        let texts = StringArray::from_iter_values((0..5_000).map(|row| format!("row {row} of many")));
        let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap();
        let mut builder = ProfileBuilder::new(batch.schema_ref(), &options).unwrap();
        builder.update(&batch).unwrap();
        let mut profile = builder.finish().unwrap();
        assert!(profile.columns[0].words.is_some());
        assert_eq!(read(&write(&profile)).unwrap(), profile);
        let before = write_body(&profile, 3);
        profile.columns[0].words = None;
        assert_eq!(read_version(&before, 3).unwrap(), profile);
        assert_eq!(read(&write(&profile)).unwrap(), profile);
    }

    #[test]
    fn registers_that_are_not_there_are_refused() {
        let mut out = Writer::default();
        write_hll(&mut out, &sketch(1));
        let refused = |bytes: &[u8]| read_hll(&mut Reader(bytes), VERSION).unwrap_err();
        assert!(refused(&out.0[..out.0.len() - 1]).contains("ends too early"));
        *out.0.last_mut().unwrap() = 60;
        assert!(refused(&out.0).ends_with("is not one"));
    }
}
