//! Names for runs that were given none: `adjective-animal-N`.

const ADJECTIVES: [&str; 64] = [
    "able", "airy", "amber", "apt", "arid", "avid", "azure", "bold", "brave", "brisk", "broad", "calm",
    "candid", "clear", "clever", "coral", "cosy", "crisp", "deft", "dusky", "eager", "early", "fair",
    "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "green", "hardy", "hazy",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "misty", "neat",
    "nimble", "noble", "pale", "placid", "proud", "quick", "quiet", "rapid", "sage", "silent", "sleek",
    "snug", "solid", "sunny", "swift", "tidy", "vivid", "warm", "wise",
];
const ANIMALS: [&str; 64] = [
    "adder", "auk", "avocet", "badger", "bass", "bittern", "bream", "carp", "clam", "cod", "coot", "crab",
    "crane", "curlew", "dab", "dace", "dipper", "dunlin", "eel", "egret", "eider", "gannet", "godwit",
    "goose", "grebe", "gull", "hare", "heron", "knot", "lapwing", "limpet", "ling", "lobster", "mallard",
    "marten", "mink", "mussel", "newt", "osprey", "otter", "oyster", "perch", "petrel", "pike", "pintail",
    "plaice", "plover", "prawn", "puffin", "rail", "ray", "redshank", "roach", "ruff", "salmon", "seal",
    "shrimp", "skua", "smelt", "snipe", "stoat", "tern", "trout", "wigeon",
];

/// The name for some random bytes.
pub(super) fn random([adjective, animal, high, low]: [u8; 4]) -> String {
    let number = u16::from_be_bytes([high, low]) % 1000;
    format!("{}-{}-{number}", ADJECTIVES[usize::from(adjective) % 64], ANIMALS[usize::from(animal) % 64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_different_and_names_short() {
        for words in [ADJECTIVES, ANIMALS] {
            assert!(words.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(words.iter().all(|word| word.len() <= 8 && word.bytes().all(|b| b.is_ascii_lowercase())));
        }
        assert_eq!(random([0, 0, 0, 7]), "able-adder-7");
        assert_eq!(random([255, 64, 3, 232]), "wise-adder-0");
    }
}
