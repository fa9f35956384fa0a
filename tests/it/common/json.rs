//! What the program prints with `--json`.

use serde_json::Value;

use super::PYTHON;
use super::package::project_file;
use super::tool::{Outcome, Tool};

/// Holds each line to the schema, by a validator of others.
const VALIDATE: &str = "\
import json, sys, jsonschema
validator = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))
for line in sys.stdin:
    validator.validate(json.loads(line))
";

/// The objects in an output, a line each, all of them as the schema says.
pub fn objects(outcome: &Outcome) -> Vec<Value> {
    let mut validator = std::process::Command::new(PYTHON);
    validator.args(["-c", VALIDATE]).arg(project_file("docs/json.schema.json"));
    Tool::of(validator).stdin(outcome.stdout.clone()).ok();
    let text = std::str::from_utf8(&outcome.stdout).unwrap();
    assert!(text.ends_with('\n') && !text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only object in an output.
pub fn object(outcome: &Outcome) -> Value {
    let mut objects = objects(outcome);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0)
}
