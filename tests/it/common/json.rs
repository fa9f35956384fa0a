//! What the program prints with `--json`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

use super::PYTHON;
use super::package::project_file;
use super::tool::Outcome;

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
pub fn object(outcome: &Outcome) -> Value {
    let mut objects = objects(outcome);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}
