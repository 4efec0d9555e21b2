//! XHTML for people: a table of label and text, nothing else.

use super::types::Narrative;

/// A two-column table. Labels and texts are escaped; line ends become breaks; characters that XML forbids are left out.
pub(super) fn table(rows: &[(&str, &str)]) -> Narrative {
    let mut div = String::from("<div xmlns=\"http://www.w3.org/1999/xhtml\"><table><tbody>");
    for (label, text) in rows {
        div.push_str("<tr><th>");
        escape(label, &mut div);
        div.push_str("</th><td>");
        escape(text, &mut div);
        div.push_str("</td></tr>");
    }
    div.push_str("</tbody></table></div>");
    Narrative { status: Some("generated".to_owned()), div: Some(div) }
}

fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br/>"),
            '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_text_stays_text() {
        let div = table(&[("Plan", "<script>&\n\u{0}\"x\"")]).div.unwrap_or_default();
        assert!(div.contains("<td>&lt;script&gt;&amp;<br/>&quot;x&quot;</td>"), "{div}");
    }
}
