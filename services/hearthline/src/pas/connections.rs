//! `pas connections` as text: what each peer's connections are doing, with what is wrong and what to do beneath.

use serde_json::Value;

pub(super) fn connections(answer: &Value) -> String {
    let mut all: Vec<&Value> = answer["connections"].as_array().into_iter().flatten().collect();
    if all.is_empty() {
        return "none".to_owned();
    }
    // Stable: connections of a peer stay in their order.
    all.sort_by_key(|connection| (connection["peer"].is_null(), text(connection, "peer")));
    let mut lines = Vec::new();
    let mut peer = None;
    for connection in all {
        let of = connection["peer"].as_str().unwrap_or("not said whose");
        if peer != Some(of) {
            lines.push(of.to_owned());
            peer = Some(of);
        }
        lines.extend(of_connection(connection));
    }
    lines.join("\n")
}

fn of_connection(connection: &Value) -> Vec<String> {
    let (state, problem, advice) = (text(connection, "state"), text(connection, "problem"), text(connection, "advice"));
    let last = connection["last_frame_at"].as_str().map(|at| format!(", the last at {at}")).unwrap_or_default();
    let frames = connection["frames"].as_u64().unwrap_or(0);
    let messages = if frames == 1 { "1 message".to_owned() } else { format!("{frames} messages") };
    let mut lines = vec![format!("  {} on {}: {state}; {messages}{last}", text(connection, "remote"), text(connection, "listener"))];
    let quirks: Vec<&Value> = connection["quirks"].as_array().into_iter().flatten().collect();
    let is_quirk = quirks.iter().any(|quirk| quirk["problem"] == connection["problem"]);
    if !problem.is_empty() && !is_quirk {
        lines.extend((problem != state).then(|| format!("    problem  {problem}")));
        lines.push(format!("    advice   {advice}"));
    }
    for quirk in quirks {
        let (name, count, at) = (text(quirk, "name"), quirk["count"].as_u64().unwrap_or(0), text(quirk, "last_at"));
        lines.push(format!("    quirk    {name}, {count} times, the last at {at}: {}", text(quirk, "problem")));
        lines.push(format!("    advice   {}", text(quirk, "advice")));
    }
    lines
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_peers_connections_are_told_with_the_advice_beneath_and_nothing_twice() {
        let connection = |peer: Option<&str>, port: u16, state: &str, problem: Option<&str>, advice: Option<&str>| {
            json!({ "peer": peer, "remote": format!("10.0.0.1:{port}"), "listener": "default", "state": state, "frames": port, "last_frame_at": null,
                "quirks": [], "problem": problem, "advice": advice })
        };
        let mut quirky = connection(Some("B"), 2, "waiting for a frame", Some("MSH-13 leaves numbers out"), Some("send them again"));
        quirky["quirks"] = json!([{ "name": "sequence_gap", "count": 3, "last_at": "T", "problem": "MSH-13 leaves numbers out", "advice": "send them again" }]);
        let answer = json!({ "connections": [
            connection(None, 4, "closed because it is no MLLP", Some("closed because it is no MLLP"), Some("use MLLP")),
            quirky,
            connection(Some("A"), 1, "waiting for a frame", Some("1 of 9 messages were refused"), Some("see the texts")),
            connection(Some("B"), 3, "taking frames", None, None),
        ] });
        assert_eq!(
            connections(&answer).lines().collect::<Vec<_>>(),
            [
                "A",
                "  10.0.0.1:1 on default: waiting for a frame; 1 message",
                "    problem  1 of 9 messages were refused",
                "    advice   see the texts",
                "B",
                "  10.0.0.1:2 on default: waiting for a frame; 2 messages",
                "    quirk    sequence_gap, 3 times, the last at T: MSH-13 leaves numbers out",
                "    advice   send them again",
                "  10.0.0.1:3 on default: taking frames; 3 messages",
                "not said whose",
                "  10.0.0.1:4 on default: closed because it is no MLLP; 4 messages",
                "    advice   use MLLP",
            ]
        );
        assert_eq!(connections(&json!({ "connections": [] })), "none");
    }
}
