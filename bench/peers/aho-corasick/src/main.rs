//! aho-corasick-peer LOG SECRETS ROUNDS: Rust's aho-corasick crate over LOG. Prints MB/s for each round: of
//! finding only, over the whole log at once, and of stream_replace_all, which also copies.

use aho_corasick::AhoCorasick;
use std::{env, fs, io, time::Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let log = fs::read(&args[1])?;
    let secrets = fs::read_to_string(&args[2])?;
    let rounds: usize = args[3].parse()?;
    let patterns: Vec<&str> = secrets.split_whitespace().collect();
    let searcher = AhoCorasick::new(&patterns)?;
    let masks = vec!["***"; patterns.len()];
    let speed = |start: Instant| log.len() as f64 / 1e6 / start.elapsed().as_secs_f64();
    for _ in 0..rounds {
        let start = Instant::now();
        let found = searcher.find_iter(&log).count();
        let find = speed(start);
        let start = Instant::now();
        searcher.try_stream_replace_all(&log[..], io::sink(), &masks)?;
        println!("{find} {} {found}", speed(start));
    }
    Ok(())
}
