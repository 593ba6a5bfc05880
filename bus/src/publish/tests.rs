//! What counts as temporary.

use super::*;

#[test]
fn only_refusals_that_pass_by_themselves_are_temporary() {
    let refused = |code| PublishError::Refused { code, detail: String::new() };
    assert!(refused(10_023).is_temporary());
    assert!(!refused(10_060).is_temporary());
    assert!(PublishError::Unavailable(String::new()).is_temporary());
    assert!(!PublishError::TooLarge.is_temporary());
}
