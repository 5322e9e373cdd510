use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{self, Format, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::{LogFormat, context::logged_trace_id};

/// Log lines that carry the trace id of the request they belong to, whether or not there is a span.
pub(super) struct Lines {
    format: LogFormat,
    text: Format,
}

impl Lines {
    pub(super) fn new(format: LogFormat, ansi: bool) -> Self {
        Self { format, text: format::format().with_ansi(ansi) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let trace_id = logged_trace_id().map(|id| format!("{id:032x}"));
        match (self.format, trace_id) {
            (LogFormat::Text, None) => self.text.format_event(context, writer, event),
            (LogFormat::Text, Some(trace_id)) => {
                let mut line = String::new();
                self.text.format_event(context, Writer::new(&mut line), event)?;
                writeln!(writer, "{} trace_id={trace_id}", line.trim_end())
            }
            (LogFormat::Json, trace_id) => writeln!(writer, "{}", json(event, trace_id)),
        }
    }
}

fn json(event: &Event<'_>, trace_id: Option<String>) -> Value {
    let mut time = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut fields = Fields(Map::new());
    fields.0.insert("timestamp".to_owned(), time.into());
    fields.0.insert("level".to_owned(), event.metadata().level().as_str().into());
    fields.0.insert("target".to_owned(), event.metadata().target().into());
    event.record(&mut fields);
    if let Some(trace_id) = trace_id {
        fields.0.insert("trace_id".to_owned(), trace_id.into());
    }
    Value::Object(fields.0)
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}
