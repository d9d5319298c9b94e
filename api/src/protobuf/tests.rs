//! Bytes made by hand, and bytes made of nothing.

use super::*;

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(field: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, field << 3);
    put_varint(&mut out, value.cast_unsigned());
    out
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, field << 3 | 2);
    put_varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

fn entry(field: u64, key: &str, value: &[u8]) -> Vec<u8> {
    bytes(field, &[bytes(1, key.as_bytes()), bytes(2, value)].concat())
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [PREFIX.to_vec(), bytes(1, &types), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
}

#[test]
fn a_config_map_is_read() {
    let metadata = [bytes(1, b"a"), bytes(2, b""), entry(11, "app", b"x"), bytes(8, b"")].concat();
    let raw = [bytes(1, &metadata), entry(2, "k", b"v"), entry(3, "b", &[0xff, 0]), number(4, 0), number(99, 7)].concat();
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"app": "x"}},
        "data": {"k": "v"}, "binaryData": {"b": "/wA="}, "immutable": false,
    });
    assert_eq!(decode(&envelope("v1", "ConfigMap", &raw)).unwrap(), expected);
}

#[test]
fn a_pod_with_every_special_type_is_read() {
    let port = [number(3, 80), number(2, 0), bytes(4, b"TCP")].concat();
    let limits = bytes(8, &entry(1, "cpu", &bytes(1, b"100m")));
    let get = |port: &[u8]| bytes(1, &bytes(2, &[bytes(1, b"/ready"), bytes(2, port)].concat()));
    let by_name = [get(&[number(1, 1), bytes(3, b"http")].concat()), number(2, 0), number(4, 5)].concat();
    let by_number = get(&[number(1, 0), number(2, 80)].concat());
    let container = [bytes(1, b"c"), bytes(3, b"sh"), bytes(3, b""), bytes(6, &port), limits, bytes(11, &by_name), bytes(10, &by_number)];
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let spec = [bytes(2, &container.concat()), number(4, 0), number(11, 0), bytes(1, &volume)].concat();
    let status = bytes(7, &[number(1, 1_700_000_000), number(2, 5)].concat());
    let raw = [bytes(1, &bytes(1, b"p")), bytes(2, &spec), bytes(3, &status)].concat();
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "containers": [{
                "name": "c", "command": ["sh", ""], "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"path": "/ready", "port": 80}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
            }],
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
        "status": {"startTime": "2023-11-14T22:13:20Z"},
    });
    let mut found = decode(&envelope("v1", "Pod", &raw)).unwrap();
    found["spec"]["containers"][0].as_object_mut().unwrap().sort_keys();
    assert_eq!(found, expected, "{found:#}");
}

#[test]
fn times_lists_and_options_are_read() {
    let time = bytes(4, &[number(1, 1_700_000_000), number(2, 123_456_000)].concat());
    let lease = decode(&envelope("coordination.k8s.io/v1", "Lease", &bytes(2, &[bytes(1, b"me"), time].concat()))).unwrap();
    assert_eq!(lease["spec"], json!({"holderIdentity": "me", "renewTime": "2023-11-14T22:13:20.123456Z"}));
    let raw = [number(1, 0), bytes(2, &bytes(1, b"some")), bytes(4, b"Orphan"), bytes(5, b"All")].concat();
    let options = decode(&envelope("v1", "DeleteOptions", &raw)).unwrap();
    let expected = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "some"},
        "propagationPolicy": "Orphan", "dryRun": ["All"]});
    assert_eq!(options, expected);
    let user = [bytes(1, b"u"), entry(4, "scopes", &[bytes(1, b"a"), bytes(1, b"b")].concat())].concat();
    let review = [bytes(1, b""), bytes(3, &[number(1, 1), bytes(2, &user)].concat())].concat();
    let review = decode(&envelope("authentication.k8s.io/v1", "TokenReview", &review)).unwrap();
    assert_eq!(review["status"], json!({"authenticated": true, "user": {"username": "u", "extra": {"scopes": ["a", "b"]}}}));
}

#[test]
fn what_makes_no_sense_is_refused_with_words() {
    let good = envelope("v1", "ConfigMap", &bytes(1, &bytes(1, b"a")));
    for length in 0..good.len() {
        let _ = decode(&good[..length]);
    }
    assert!(decode(b"{}").unwrap_err().contains("prefix"));
    assert!(decode(&envelope("v1", "Widget", b"")).unwrap_err().contains("Widget"));
    assert!(decode(&envelope("v1", "ConfigMap", &[0x0a, 0x7f])).unwrap_err().contains("EOF"));
    assert!(decode(&envelope("v1", "ConfigMap", &number(1, 3))).unwrap_err().contains("metadata"));
    assert!(decode(&envelope("v1", "ConfigMap", &[0xff; 40])).unwrap_err().contains("too long"));
}

#[test]
fn no_bytes_make_it_panic() {
    let (mut state, kinds) = (0x9e37_79b9_7f4a_7c15_u64, ["Pod", "ConfigMap", "Event", "DeleteOptions", "Node"]);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut read = 0;
    for round in 0..20_000 {
        let length = random() % 60;
        let raw: Vec<u8> =
            (0..length).map(|_| if random() % 3 == 0 { (random() % 9 * 8 + 2) as u8 } else { (random() % 256) as u8 }).collect();
        read += usize::from(decode(&envelope("v1", kinds[round % kinds.len()], &raw)).is_ok());
        let _ = decode(&[PREFIX, &raw].concat());
    }
    assert!(read > 0, "some of it makes sense");
    let nested = (0..200).fold(Vec::new(), |inner, _| bytes(2, &inner));
    let _ = decode(&envelope("v1", "Pod", &nested));
}
