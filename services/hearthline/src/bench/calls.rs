//! `POST /calls` over HTTP, durable when answered.

use super::load::Connection;
use super::system::System;
use super::{Figure, Options, histogram, ms};
use anyhow::bail;
use std::time::Instant;

/// Calls a second on this many connections. With `alone`, call-intake runs by itself: nobody consumes beside it on the same cores.
pub async fn calls(options: &Options, connections: usize, alone: bool) -> anyhow::Result<Figure> {
    let system = System::start(options, alone.then_some(hearthline_call_intake::NAME)).await?;
    let until = Instant::now() + options.seconds;
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..connections {
        let (http, token, home) = (system.http, system.call_handler.clone(), system.home.clone());
        tasks.spawn(async move {
            let mut times = histogram();
            let mut connection = Connection::open(http).await?;
            let body = format!(r#"{{"home_id":"{home}","channel":"telephone","reason":"fall","reason_text":"fell beside the bed, no injury seen"}}"#);
            let mut i = 0u64;
            while Instant::now() < until {
                let begun = Instant::now();
                let (status, answer) = connection.post("/calls", &token, &format!("bench-{n}-{i}"), &body).await?;
                if status != 201 {
                    bail!("POST /calls was answered {status}: {answer}");
                }
                times.record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX).max(1))?;
                i += 1;
            }
            Ok(times)
        });
    }
    let mut all = histogram();
    while let Some(done) = tasks.join_next().await {
        all.add(done??)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    system.stop().await?;
    Ok(Figure {
        what: if alone { "POST /calls, call-intake alone".to_owned() } else { "POST /calls, every service consuming".to_owned() },
        callers: connections,
        per_second: all.len() as f64 / seconds,
        p50_ms: ms(all.value_at_quantile(0.5)),
        p99_ms: ms(all.value_at_quantile(0.99)),
    })
}
