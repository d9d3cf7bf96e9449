//! schemathesis over our own OpenAPI document: no request that follows it, or breaks it, ends in a 500.

use super::process::{Place, python, succeeds};

#[test]
fn the_own_api_keeps_what_its_document_says() {
    let place = Place::sqlite();
    let server = place.serve();
    let mut command = python(&place, "schemathesis");
    command.args(["run", &format!("{}/api/v1/openapi.json", server.url)]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    command.args(["--checks", "response_schema_conformance", "--max-examples", "40", "--seed", "7"]);
    command.args(["--suppress-health-check", "all", "--generation-database", "none", "--no-color"]);
    succeeds(command, &[&server]);
    server.stop();
}
