//! The page: a public shell without a figure in it, and the fragment with figures that its script fetches with the token.

use crate::answer::{hours_after, instant, notes, plain, stands};
use crate::codes::ClaimKind;
use crate::measures::{Amount, Cell, Contradicted, ContradictedBy, Figures, Taken};
use maud::{DOCTYPE, Markup, html};

/// The page that anybody may load. All figures come later, with a token.
pub fn shell() -> Markup {
    html! {
        (DOCTYPE)
        html lang="en-GB" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                meta name="color-scheme" content="light dark";
                title { "Hearthline: figures of the telemedicine service" }
                link rel="stylesheet" href="/kpi.css";
                script src="/kpi.js" defer {}
            }
            body {
                a.skip href="#figures" { "Skip to the figures" }
                header {
                    p.brand { "Hearthline" }
                    h1 { "Telemedicine for care homes" }
                    p.lead { "What the service did, what its clinicians say it avoided, and what the hospitals saw afterwards." }
                }
                main {
                    form #sign-in hidden {
                        label for="token" { "Access token" }
                        input #token type="password" autocomplete="off" spellcheck="false" required;
                        button type="submit" { "Show figures" }
                        p.hint { "For analysts and operators. It stays in this tab and is forgotten when the tab closes." }
                    }
                    form #choose hidden {
                        div.field {
                            label for="from" { "First week (any day in it)" }
                            input #from type="date" required;
                        }
                        div.field {
                            label for="weeks" { "Weeks" }
                            select #weeks {
                                option value="1" { "1" }
                                option value="4" { "4" }
                                option value="12" { "12" }
                                option value="26" { "26" }
                                option value="52" { "52" }
                            }
                        }
                        div.buttons {
                            button #earlier type="button" { "Earlier" }
                            button #later type="button" { "Later" }
                            button.primary type="submit" { "Show" }
                        }
                        div.buttons.files {
                            button #csv type="button" { "Download CSV" }
                            button #json type="button" { "Download JSON" }
                            button #forget type="button" { "Sign out" }
                        }
                    }
                    p #status role="status" aria-live="polite" {}
                    div #figures tabindex="-1" {}
                    noscript { p { "This page needs JavaScript to send your access token with its requests." } }
                }
            }
        }
    }
}

/// The figures as HTML. `now` is µs UTC.
pub fn fragment(figures: &Figures, now: i64) -> Markup {
    html! {
        section.tiles aria-label="Headline figures" {
            @for id in ["calls_total", "ambulance_conveyances_avoided", "ed_attendances_avoided", "admissions_avoided"] {
                @if let Some(taken) = figures.taken.iter().find(|taken| taken.measure.id == id) { (tile(taken)) }
            }
        }
        p.explain {
            "Declared: claimed by the clinician. Of those, sustained: the hospitals' feeds covered the "
            (figures.window_h) " hours after the call and saw nothing of the kind. Contradicted: they did. Unverifiable: they could not have seen it. "
            "Pending: too early to say. The three kinds overlap and must not be added up."
        }
        (contradictions(figures))
        (table(figures))
        section.notes aria-labelledby="notes-title" {
            h2 #notes-title { "About these figures" }
            ul {
                li { "As of " time datetime=(instant(figures.as_of)) { (minute(figures.as_of)) } "; weeks run from Monday to Sunday, London time." }
                li { "Claims are judged " (figures.window_h) " hours after the call, and " (figures.feed_lag_h) " more for late messages." }
                @for note in notes(figures, now) { li { (note.text) } }
            }
        }
    }
}

fn tile(taken: &Taken) -> Markup {
    let name = format!("tile-{}", taken.measure.id);
    html! {
        article.tile aria-labelledby=(name) {
            h2 id=(name) { (taken.measure.title) }
            p.number { (shown(taken.whole.value)) }
            @match &taken.whole.split {
                Some(split) => {
                    dl {
                        @for (word, n) in stands(split) {
                            div class=(word) { dt { (word) } dd { (n) } }
                        }
                    }
                }
                None => {
                    dl {
                        @for (word, amount) in &taken.whole.by {
                            div { dt { (word) } dd { (shown(*amount)) } }
                        }
                    }
                }
            }
            p.meaning { (taken.measure.meaning) }
        }
    }
}

fn contradictions(figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="contradicted-title" {
            h2 #contradicted-title { "Contradicted claims" }
            @if figures.contradicted.is_empty() {
                p { "None in these weeks." }
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="contradicted-title" {
                    table {
                        caption { "For case review: the rule does not know whether the visit was for the same problem." }
                        thead { tr {
                            th scope="col" { "Avoidance claimed" }
                            th scope="col" { "Call" }
                            th scope="col" { "Contradicted by" }
                            th scope="col" { "When" }
                            th.number scope="col" { "Hours after" }
                        } }
                        tbody { @for one in &figures.contradicted { (contradiction(one)) } }
                    }
                }
            }
        }
    }
}

fn contradiction(one: &Contradicted) -> Markup {
    html! {
        tr {
            th scope="row" { (spoken(one.kind)) }
            td { code { (one.call) } }
            td {
                @match &one.by {
                    ContradictedBy::Visit { visit, facility_ods } => { "visit " code { (visit) } " at " (facility_ods) }
                    ContradictedBy::Call(call) => { "later call " code { (call) } " that sent the resident in" }
                }
            }
            td { time datetime=(instant(one.at)) { (minute(one.at)) } }
            td.number { (hours_after(one)) }
        }
    }
}

fn table(figures: &Figures) -> Markup {
    let several = figures.window.weeks.len() > 1;
    html! {
        section aria-labelledby="table-title" {
            h2 #table-title { "All measures" }
            div.scroll tabindex="0" role="region" aria-labelledby="table-title" {
                table {
                    caption { "A dash means not known, which is not the same as none." }
                    thead { tr {
                        th scope="col" { "Measure" }
                        th.number scope="col" { "Whole period" }
                        th scope="col" { "Of which" }
                        @if several { @for week in &figures.window.weeks {
                            th.number scope="col" { (week.week) @if week.to > figures.as_of { span.of { " not over" } } }
                        } }
                        th scope="col" { "Unit" }
                    } }
                    tbody { @for taken in &figures.taken {
                        tr id=(taken.measure.id) {
                            th scope="row" { (taken.measure.title) span.meaning { (taken.measure.meaning) } }
                            td.number { (shown(taken.whole.value)) }
                            td { (parts(taken.measure.unit, &taken.whole)) }
                            @if several { @for cell in &taken.weeks { td.number { (shown(cell.value)) } } }
                            td { (taken.measure.unit) }
                        }
                    } }
                }
            }
        }
    }
}

fn parts(unit: &str, cell: &Cell) -> Markup {
    // A share is a part of a whole; a rate is one number by another.
    let over = if unit.contains(" per ") { " ÷ " } else { " of " };
    html! {
        @if let Some(split) = &cell.split {
            span.parts { @for (word, n) in stands(split).skip(1) { span class=(word) { (word) " " (n) } } }
        }
        @if !cell.by.is_empty() {
            span.parts { @for (word, amount) in &cell.by { span { (word.replace('_', " ")) " " (shown(*amount)) } } }
        }
        @if let Some((numerator, denominator)) = cell.of { span.of { (numerator) (over) (denominator) } }
    }
}

fn shown(amount: Amount) -> String {
    match amount {
        Amount::NotKnown => "–".to_owned(),
        known => plain(known),
    }
}

fn spoken(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Conveyance => "conveyance",
        ClaimKind::EdAttendance => "ED attendance",
        ClaimKind::Admission => "admission",
    }
}

/// London time to the minute.
fn minute(at_us: i64) -> String {
    hearthline_nhs::london_local(at_us).map_or_else(|_| String::new(), |at| format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute()))
}
