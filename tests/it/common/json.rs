//! What the program prints with `--json`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::{Value, json};

use super::PYTHON;
use super::package::project_file;
use super::tool::{Outcome, Tool};

/// Holds each line to the schema; answers with what is wrong with it, in a line.
const VALIDATE: &str = "\
import json, sys, jsonschema
validator = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))
for line in sys.stdin:
    print([error.message for error in validator.iter_errors(json.loads(line))], flush=True)
";

/// A validator of others. It is started once, and ends when its input does, with this process.
static VALIDATOR: LazyLock<Mutex<(Child, BufReader<ChildStdout>)>> = LazyLock::new(|| {
    let mut command = Command::new(PYTHON);
    command.args(["-c", VALIDATE]).arg(project_file("docs/json.schema.json"));
    let mut validator = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let answers = BufReader::new(validator.stdout.take().unwrap());
    Mutex::new((validator, answers))
});

/// The objects in an output, a line each, all of them as the schema says.
pub fn objects(outcome: &Outcome) -> Vec<Value> {
    let text = std::str::from_utf8(&outcome.stdout).unwrap();
    assert!(text.ends_with('\n') && !text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    text.lines().map(object_in).collect()
}

fn object_in(line: &str) -> Value {
    let mut validator = VALIDATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (process, answers) = &mut *validator;
    writeln!(process.stdin.as_mut().unwrap(), "{line}").unwrap();
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    assert_eq!(answer, "[]\n", "{line}");
    serde_json::from_str(line).unwrap()
}

/// The only object in an output.
#[track_caller]
pub fn object(outcome: &Outcome) -> Value {
    let mut objects = objects(outcome);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}

/// The events of a run, the last of which says how it ended.
#[track_caller]
pub fn events(outcome: &Outcome) -> Vec<Value> {
    let events = objects(outcome);
    let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let result = events.last().unwrap();
    assert_eq!((of("result").len(), &result["type"]), (1, &json!("result")), "{events:?}");
    assert_eq!((&result["exit_status"], result["ok"] == true), (&json!(outcome.status), outcome.status == Some(0)));
    let begins = events.iter().position(|event| event["type"] == "start");
    let targets = begins.map_or(0, |begins| events[begins]["targets"].as_array().unwrap().len());
    for (place, event) in events.iter().enumerate() {
        match event["type"].as_str().unwrap() {
            "start" => assert_eq!(Some(place), begins, "{events:?}"),
            "phase" | "progress" | "target" | "mismatch" => {
                assert!(begins < Some(place) && event["index"].as_u64() < Some(targets as u64), "{events:?}");
            }
            _ => {}
        }
    }
    let ended = of("target").iter().map(|event| event["index"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(ended.iter().is_sorted_by(|one, next| one < next), "{events:?}");
    events
}

/// Runs it, and expects it to succeed.
#[track_caller]
pub fn succeeds(tool: Tool) -> Vec<Value> {
    let outcome = tool.ok();
    events(&outcome)
}

/// Runs it, and expects it to end with a status and the code of an error.
#[track_caller]
pub fn ends_with(tool: Tool, status: i32, code: &str) -> Vec<Value> {
    let outcome = tool.run();
    let events = events(&outcome);
    let ended = (outcome.status, &events.last().unwrap()["error"]["code"]);
    assert_eq!(ended, (Some(status), &json!(code)), "{events:?}\n{}", outcome.stderr);
    events
}

/// Runs it, and expects it to fail with the code of an error.
#[track_caller]
pub fn fails_with(tool: Tool, code: &str) -> Vec<Value> {
    ends_with(tool, 1, code)
}
