//! Metrics, with their labels and histograms.

use super::{Entry, Fields};
use crate::wire::flatbuffer::FlatBufferError;

/// Names of the metric types, from the wire's 1 on.
pub const METRIC_TYPES: [&str; 3] = ["gauge", "counter", "histogram"];

/// Names of the temporalities, from the wire's 0 on.
pub const TEMPORALITIES: [&str; 3] = ["unspecified", "cumulative", "delta"];

/// One measured value, or one histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricEntry<'a> {
    /// 1 gauge, 2 counter, 3 histogram.
    pub metric_type: u8,
    /// Nanoseconds since 1970; 0 if absent.
    pub timestamp_ns: u64,
    /// Name of the metric.
    pub name: &'a str,
    /// The value; 0.0 if absent, and in histograms.
    pub value: f64,
    /// The host.
    pub source: Option<&'a str>,
    /// The measuring service.
    pub service: Option<&'a str>,
    /// Label and text, as sent.
    pub labels: Vec<(&'a str, &'a str)>,
    /// 0 unspecified, 1 cumulative, 2 delta.
    pub temporality: u8,
    /// The distribution.
    pub histogram: Option<Histogram>,
    /// A UUID.
    pub session_id: Option<[u8; 16]>,
    /// Label and integer, as sent.
    pub int_labels: Vec<(&'a str, i64)>,
}

/// A distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Number of observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// By ascending upper bound, counts cumulative.
    pub buckets: Vec<Bucket>,
    /// The smallest observation.
    pub min: f64,
    /// The largest observation.
    pub max: f64,
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Observations up to here; infinite in the last bucket.
    pub upper_bound: f64,
    /// How many.
    pub count: u64,
}

/// A label's table and its offset in the vector: 12 bytes and 4.
const LABEL_COST: usize = 16;
/// A bucket's or an integer label's table and its offset.
const BUCKET_COST: usize = 24;

impl<'a> Entry<'a> for MetricEntry<'a> {
    const VECTOR: &'static str = "metrics";

    fn read(fields: &mut Fields<'_, 'a>) -> Result<Self, FlatBufferError> {
        let field = "name";
        let name = fields.text(2, field)?;
        Ok(Self {
            metric_type: fields.table.u8(0, "metric_type")?,
            timestamp_ns: fields.table.u64(1, "timestamp")?,
            name: name.ok_or(FlatBufferError::Missing { field })?,
            value: fields.table.f64(3, "value")?,
            source: fields.text(4, "source")?,
            service: fields.text(5, "service")?,
            labels: fields.list(6, "labels", LABEL_COST, |label| {
                let value = label.text(1, "labels.value")?.unwrap_or_default();
                Ok((label_key(label, "labels.key")?, value))
            })?,
            temporality: fields.table.u8(7, "temporality")?,
            histogram: histogram(fields)?,
            session_id: fields.id(9, "session_id")?,
            int_labels: fields.list(10, "int_labels", BUCKET_COST, |label| {
                let value = label.table.i64(1, "int_labels.value")?;
                Ok((label_key(label, "int_labels.key")?, value))
            })?,
        })
    }
}

fn label_key<'a>(
    label: &mut Fields<'_, 'a>,
    field: &'static str,
) -> Result<&'a str, FlatBufferError> {
    let key = label.text(0, field)?;
    key.ok_or(FlatBufferError::Missing { field })
}

fn histogram(fields: &mut Fields<'_, '_>) -> Result<Option<Histogram>, FlatBufferError> {
    let Some(table) = fields.table.table(8, "histogram")? else {
        return Ok(None);
    };
    let budget = &mut *fields.budget;
    let mut fields = Fields { table, budget };
    Ok(Some(Histogram {
        count: table.u64(0, "histogram.count")?,
        sum: table.f64(1, "histogram.sum")?,
        buckets: fields.list(2, "histogram.buckets", BUCKET_COST, |bucket| {
            Ok(Bucket {
                upper_bound: bucket.table.f64(0, "histogram.buckets.upper_bound")?,
                count: bucket.table.u64(1, "histogram.buckets.count")?,
            })
        })?,
        min: table.f64(3, "histogram.min")?,
        max: table.f64(4, "histogram.max")?,
    }))
}
