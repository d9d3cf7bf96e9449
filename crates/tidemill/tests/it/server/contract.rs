//! schemathesis over our own OpenAPI document: no request that follows it, or breaks it, ends in a 500.

use super::process::{Place, script, succeeds};

#[test]
fn the_own_api_keeps_what_its_document_says() {
    let place = Place::sqlite();
    let server = place.serve();
    succeeds(script(&place, "api_v1.py", &[&server.url]), &[&server]);
    server.stop();
}
