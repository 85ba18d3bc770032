//! A report as one page of HTML that needs nothing else: tables, and plots as inline SVG.

use crate::book::{Book, Entry, Figure, Reads, Verdict, millis};
use crate::measure::Latency;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 10.0;

/// Lines that are told apart by colour; further ones begin again.
const COLOURS: [&str; 10] = [
    "#3b76d6", "#d9682b", "#2f9e62", "#b1459b", "#8a7a1f", "#2aa3b5", "#c23a3a", "#6f63c9", "#7a8793",
    "#99601f",
];

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
td:first-child, th:first-child { text-align: left; }
.held { color: #2f9e62; } .missed { color: #c23a3a; }
svg text { fill: currentColor; font-size: 11px; }
svg .grid { stroke: #8884; } svg .line { fill: none; stroke-width: 1.7; }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.wide { overflow-x: auto; }
pre { white-space: pre-wrap; }
";

/// One line of a plot.
struct Line<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

/// An axis: where a value stands between 0 and 1, and which values are named.
struct Axis {
    least: f64,
    most: f64,
    logarithmic: bool,
    named: Vec<(f64, String)>,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let place = |value: f64| if self.logarithmic { value.max(self.least).log10() } else { value };
        let (least, most) = (place(self.least), place(self.most));
        if most > least { (place(value) - least) / (most - least) } else { 0.5 }
    }

    /// From zero, in round steps.
    fn linear(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * power);
        let step = step.into_iter().find(|step| most / step <= 6.0).unwrap_or(most);
        let named = (0..=7).map(|number| f64::from(number) * step).take_while(|value| *value <= most);
        let named = named.map(|value| (value, short(value))).collect();
        Self { least: 0.0, most, logarithmic: false, named }
    }

    /// In powers of ten.
    fn logarithmic(least: f64, most: f64) -> Self {
        let (low, high) = (least.max(1e-3).log10().floor(), most.max(1e-3).log10().ceil());
        let powers = (-3..=9).map(f64::from).filter(|power| (low..=high).contains(power));
        let named = powers.map(|power| (10_f64.powf(power), short(10_f64.powf(power)))).collect();
        Self { least: 10_f64.powf(low), most: 10_f64.powf(high.max(low + 1.0)), logarithmic: true, named }
    }

    /// Percentiles, each nine as far from the next: at p stands 1 / (1 - p).
    fn nines() -> Self {
        let named = [(1.0, "0"), (2.0, "50"), (10.0, "90"), (100.0, "99"), (1e3, "99.9"), (1e4, "99.99")];
        let named = named.into_iter().map(|(at, name)| (at, name.to_owned())).collect();
        Self { least: 1.0, most: 1e5, logarithmic: true, named }
    }
}

/// A number as people write it at an axis.
fn short(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e4 {
        format!("{}k", value / 1e3)
    } else {
        format!("{}", (value * 1e3).round() / 1e3)
    }
}

fn plot(out: &mut String, title: &str, x: &Axis, y: &Axis, lines: &[Line<'_>]) {
    let right = WIDTH - RIGHT;
    let bottom = HEIGHT - BOTTOM;
    let across = |value: f64| LEFT + x.at(value).clamp(0.0, 1.0) * (right - LEFT);
    let up = |value: f64| bottom - y.at(value).clamp(0.0, 1.0) * (bottom - TOP);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<h3>{}</h3><svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' role='img'>",
        escaped(title)
    );
    for (value, name) in &x.named {
        let at = across(*value);
        let _ = write!(out, "<line class='grid' x1='{at:.1}' y1='{TOP}' x2='{at:.1}' y2='{bottom}'/>");
        let _ = write!(
            out,
            "<text x='{at:.1}' y='{:.1}' text-anchor='middle'>{}</text>",
            bottom + 18.0,
            escaped(name)
        );
    }
    for (value, name) in &y.named {
        let at = up(*value);
        let _ = write!(out, "<line class='grid' x1='{LEFT}' y1='{at:.1}' x2='{right}' y2='{at:.1}'/>");
        let _ = write!(
            out,
            "<text x='{:.1}' y='{:.1}' text-anchor='end'>{}</text>",
            LEFT - 6.0,
            at + 4.0,
            escaped(name)
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y))).collect();
        let _ = write!(out, "<polyline class='line' stroke='{colour}' points='{}'/>", points.join(" "));
    }
    out.push_str("</svg><p class='legend'>");
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let _ = write!(out, "<span><b style='color:{colour}'>&#9632;</b> {}</span>", escaped(line.name));
    }
    out.push_str("</p>");
}

fn latencies(out: &mut String, entries: &[Entry]) {
    let own = entries.iter().filter_map(|entry| Some((entry.name.clone(), entry.latency.as_ref()?)));
    let reads = entries
        .iter()
        .filter_map(|entry| Some((format!("{}: reads", entry.name), &entry.reads.as_ref()?.latency)));
    let curves: Vec<(String, &Latency)> = own.chain(reads).collect();
    let place = |percentile: f64| (1.0 / (1.0 - percentile / 100.0)).min(1e5);
    let lines: Vec<Line<'_>> = curves
        .iter()
        .map(|(name, latency)| Line {
            name,
            points: latency.curve.iter().map(|(percentile, us)| (place(*percentile), millis(*us))).collect(),
        })
        .collect();
    let values = || lines.iter().flat_map(|line| line.points.iter().map(|(_, ms)| *ms));
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if most > 0.0 {
        let title = "Latency in milliseconds, by percentile";
        plot(out, title, &Axis::nines(), &Axis::logarithmic(least, most), &lines);
    }
}

fn rates(out: &mut String, entries: &[Entry]) {
    let lines: Vec<Line<'_>> = entries
        .iter()
        .filter(|entry| entry.points.len() > 1)
        .map(|entry| {
            let points = entry.points.iter().map(|point| (point.at_s, point.events_per_s)).collect();
            Line { name: &entry.name, points }
        })
        .collect();
    let most =
        |of: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.points).map(of).fold(0.0, f64::max);
    if !lines.is_empty() {
        let (x, y) = (Axis::linear(most(|point| point.0)), Axis::linear(most(|point| point.1)));
        plot(out, "Events stored a second, over time in seconds", &x, &y, &lines);
    }
}

fn worst(out: &mut String, entries: &[Entry]) {
    let lines: Vec<Line<'_>> = entries
        .iter()
        .filter(|entry| entry.points.len() > 1 && entry.latency.is_some())
        .map(|entry| {
            let points = entry.points.iter().filter(|point| point.worst_us > 0);
            let points = points.map(|point| (point.at_s, millis(point.worst_us))).collect();
            Line { name: &entry.name, points }
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let longest = points().map(|point| point.0).fold(0.0, f64::max);
    let least = points().map(|point| point.1).fold(f64::MAX, f64::min);
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    if most > 0.0 {
        let title = "The longest latency in milliseconds, over time in seconds";
        plot(out, title, &Axis::linear(longest), &Axis::logarithmic(least, most), &lines);
    }
}

fn entries_table(out: &mut String, book: &Book) {
    out.push_str(
        "<h2>Runs</h2><div class='wide'><table><tr><th></th><th>events/s</th><th>rounds</th><th>p50 ms</th>\
         <th>p99 ms</th><th>p99.9 ms</th><th>longest</th><th>server CPU &micro;s/event</th>\
         <th>client</th><th>cores of others</th><th>failed</th></tr>",
    );
    for entry in &book.entries {
        let rounds: Vec<String> = entry.rounds_events_per_s.iter().map(|rate| format!("{rate:.0}")).collect();
        let _ = write!(
            out,
            "<tr><td title='{}'>{}</td><td>{:.0}</td><td>{}</td>",
            escaped(&entry.durability),
            escaped(&entry.name),
            entry.events_per_s,
            rounds.join(" ")
        );
        match &entry.latency {
            Some(latency) => {
                for us in [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us] {
                    let _ = write!(out, "<td>{:.3}</td>", millis(us));
                }
            }
            None => out.push_str("<td></td><td></td><td></td><td></td>"),
        }
        match &entry.cost {
            Some(cost) => {
                let _ = write!(
                    out,
                    "<td>{:.1}</td><td>{:.1}</td><td>{}</td>",
                    cost.server_us_per_event,
                    cost.client_us_per_event,
                    cost.cores_of_others.map(|cores| format!("{cores:.2}")).unwrap_or_default()
                );
            }
            None => out.push_str("<td></td><td></td><td></td>"),
        }
        let _ = write!(out, "<td>{}</td></tr>", entry.counts.failed);
        if let Some(reads) = &entry.reads {
            reads_row(out, entry, reads);
        }
    }
    out.push_str("</table></div>");
}

/// Reads have a row of their own below what was written meanwhile.
fn reads_row(out: &mut String, entry: &Entry, reads: &Reads) {
    let _ = write!(out, "<tr><td>{}: reads</td>", escaped(&entry.name));
    let _ = write!(out, "<td>{:.0}</td><td></td>", reads.reads_per_s);
    let latency = &reads.latency;
    for us in [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us] {
        let _ = write!(out, "<td>{:.3}</td>", millis(us));
    }
    let _ = write!(out, "<td></td><td></td><td></td><td>{}</td></tr>", reads.failed);
}

fn ratios_table(out: &mut String, book: &Book) {
    if book.ratios.is_empty() {
        return;
    }
    out.push_str("<h2>Ratios</h2><table><tr><th></th><th></th><th>aim</th></tr>");
    for ratio in &book.ratios {
        let _ = write!(out, "<tr><td>{}</td><td>{}</td>", escaped(&ratio.name), ratio.figure());
        let _ = match (ratio.aim, ratio.verdict) {
            (Some(aim), Some(Verdict::NotMeasured)) => write!(out, "<td>{aim}: not measured</td></tr>"),
            (Some(aim), Some(verdict)) => {
                write!(out, "<td class='{word}'>{aim}: {word}</td></tr>", word = verdict.word())
            }
            _ => write!(out, "<td></td></tr>"),
        };
    }
    out.push_str("</table>");
}

/// What only some variants have.
fn figures_table(out: &mut String, book: &Book) {
    let figures: Vec<(&str, &Figure)> = book
        .entries
        .iter()
        .flat_map(|entry| entry.figures.iter().map(|figure| (entry.name.as_str(), figure)))
        .collect();
    if figures.is_empty() {
        return;
    }
    out.push_str("<h2>Figures</h2><table>");
    for (name, figure) in figures {
        let (what, amount) = (escaped(&figure.name), figure.amount());
        let _ = write!(out, "<tr><td>{}: {what}</td><td>{amount}</td></tr>", escaped(name));
    }
    out.push_str("</table>");
}

/// The page.
#[must_use]
pub fn html(book: &Book) -> String {
    let mut out = String::new();
    let title = escaped(&book.title);
    let _ = write!(
        out,
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    let machine = &book.machine;
    let _ = write!(
        out,
        "<p>{} &times; {}, {} MiB, Linux {}, {}. Commit {}, {} build. Began {}; load before: {:.1}.</p>",
        machine.cores,
        escaped(&machine.processor),
        machine.memory_bytes >> 20,
        escaped(&machine.kernel),
        escaped(&machine.file_system),
        escaped(&machine.commit),
        escaped(machine.build),
        escaped(&machine.began_at),
        machine.load_before
    );
    for reason in &book.left_out {
        let _ = write!(out, "<p>Not measured: {}</p>", escaped(reason));
    }
    for reason in &book.failed {
        let _ = write!(out, "<p class='missed'>Failed: {}</p>", escaped(reason));
    }
    ratios_table(&mut out, book);
    entries_table(&mut out, book);
    figures_table(&mut out, book);
    latencies(&mut out, &book.entries);
    rates(&mut out, &book.entries);
    worst(&mut out, &book.entries);
    out.push_str("<h2>Settings</h2>");
    for entry in &book.entries {
        let _ = write!(
            out,
            "<details><summary>{}</summary><p>Before an answer: {}</p><pre>{}</pre></details>",
            escaped(&entry.name),
            escaped(&entry.durability),
            escaped(&format!("{:#}", entry.settings))
        );
    }
    out.push_str("</html>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_names_round_numbers_within() {
        let axis = Axis::linear(23_456.0);
        let names: Vec<&str> = axis.named.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["0", "5000", "10k", "15k", "20k"]);
        assert!((axis.at(11_728.0) - 0.5).abs() < 1e-9);
        let axis = Axis::logarithmic(0.3, 250.0);
        let names: Vec<&str> = axis.named.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["0.1", "1", "10", "100", "1000"]);
        assert!((axis.at(10.0) - 0.5).abs() < 1e-9);
        assert!((Axis::nines().at(100.0) - 0.4).abs() < 1e-9);
    }

    #[test]
    fn a_plot_stays_inside_and_names_are_text() {
        let mut out = String::new();
        let line = Line { name: "<b> & 'c'", points: vec![(0.0, 5.0), (9.0, 1e9)] };
        plot(&mut out, "a < b", &Axis::linear(9.0), &Axis::linear(10.0), &[line]);
        assert!(out.contains("&lt;b&gt; &amp; &#39;c&#39;") && out.contains("a &lt; b"), "{out}");
        assert!(out.contains("points='64.0,138.0 750.0,10.0'"), "{out}");
    }
}
