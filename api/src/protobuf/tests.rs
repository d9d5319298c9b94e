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

/// Makes objects of a message's type, with every field at times.
struct Maker(u64);

impl Maker {
    fn number(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn message(&mut self, name: &str, depth: usize) -> Value {
        let mut object = json!({});
        for field in core_types::fields(name).unwrap() {
            if self.number(3) == 0 || depth > 5 {
                continue;
            }
            if let (true, Type::Message(inner)) = (field.name.is_empty(), field.holds) {
                for (name, value) in self.message(inner, depth + 1).as_object().unwrap() {
                    object[name] = value.clone();
                }
                continue;
            }
            let value = match field.many {
                Many::One => self.value(field.holds, depth),
                Many::List => (0..1 + self.number(2)).map(|_| self.value(field.holds, depth)).collect(),
                Many::Map => json!({"a": self.value(field.holds, depth), "b.c/d": self.value(field.holds, depth)}),
            };
            if field.many != Many::One || field.keeps_zero || value != json!({}) {
                object[field.name] = value;
            }
        }
        object
    }

    fn value(&mut self, holds: Type, depth: usize) -> Value {
        let word = ["ä", "b", "c-d"][self.number(3) as usize];
        match holds {
            Type::Text => json!(word),
            Type::Integer => json!([1, -7, 4_000_000_000_i64][self.number(3) as usize]),
            Type::Boolean => json!(true),
            Type::Float => json!([2, 3][self.number(2) as usize]),
            Type::Bytes => json!(STANDARD.encode([1, 255, 0])),
            Type::Time => json!("2001-02-03T04:05:06Z"),
            Type::MicroTime => json!("2001-02-03T04:05:06.000007Z"),
            Type::Duration => json!("90s"),
            Type::Quantity => json!("100m"),
            Type::IntOrString if self.number(2) == 0 => json!(80),
            Type::IntOrString => json!("http"),
            Type::Raw => json!({"f:a": [1, {"b": null}]}),
            Type::Texts => json!(["x", word]),
            Type::SchemaOr(Instead::List) => json!([self.message(SCHEMA, depth + 1), {}]),
            Type::SchemaOr(Instead::Texts) => json!([word]),
            Type::SchemaOr(Instead::Boolean) if self.number(2) == 0 => json!(false),
            Type::SchemaOr(Instead::Boolean) => self.message(SCHEMA, depth + 1),
            Type::Message(name) => self.message(name, depth + 1),
        }
    }
}

#[test]
fn every_kind_comes_back_from_protobuf_as_it_went_in() {
    let mut maker = Maker(0x2545_f491_4f6c_dd1d);
    let mut seen = 0;
    let extra = [("", "Status"), ("", "APIResourceList"), ("", "APIGroupList"), ("autoscaling", "Scale"), ("policy", "Eviction")];
    let kinds = model::KINDS.iter().map(|kind| kind()).map(|kind| (kind.group, kind.kind));
    let kinds: Vec<(String, String)> = kinds.chain(extra.map(|(group, kind)| (group.into(), kind.into()))).collect();
    for (group, kind) in kinds {
        let Some(name) = core_types::message_of(&group, &kind) else {
            assert!(["conductor.dev", model::usage::GROUP].contains(&group.as_str()), "{kind}");
            continue;
        };
        for _ in 0..40 {
            let mut object = maker.message(name, 0);
            object["apiVersion"] = json!(if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") });
            object["kind"] = json!(kind);
            let bytes = encode(&object).unwrap();
            assert_eq!(decode(&bytes).unwrap(), object, "{object:#}");
            seen += bytes.len();
            for cut in [1, bytes.len() / 2, bytes.len() - 1] {
                let _ = decode(&bytes[..cut]);
            }
        }
    }
    assert!(seen > 100_000, "{seen}");
}

#[test]
fn lists_and_changes_are_framed_as_clients_read_them() {
    let item = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [item, item]});
    let entry = [bytes(1, &bytes(1, b"a")), entry(2, "k", b"v")].concat();
    let raw = [bytes(1, &bytes(2, b"7")), bytes(2, &entry), bytes(2, &entry)].concat();
    assert_eq!(encode(&list).unwrap(), envelope("v1", "ConfigMapList", &raw));
    assert_eq!(encode(&json!({"kind": "WidgetList", "apiVersion": "a.dev/v1"})), None);
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let framed = frame("ADDED", &object).unwrap();
    let expected = [bytes(1, b"ADDED"), bytes(2, &bytes(1, &envelope("v1", "ConfigMap", &entry)))].concat();
    assert_eq!(framed, [&u32::try_from(expected.len()).unwrap().to_be_bytes()[..], &expected].concat());
}
