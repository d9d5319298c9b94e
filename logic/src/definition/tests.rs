//! Tables over definitions and their schemas.

use serde_json::{Value, json};

use super::json_path::Path;
use super::scale::ScalePaths;
use super::{Structural, check, names};

fn schema() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
        "size": {"type": "string", "enum": ["small", "large"]},
        "colour": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 5, "default": "red"},
        "count": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 10},
        "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true, "multipleOf": 0.5},
        "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "note": {"type": "string", "nullable": true},
        "when": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "maxItems": 2, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "settings": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "integer"}}},
        "limits": {"type": "object", "default": {}, "properties": {"memory": {"type": "integer", "default": 64}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}}}},
    }}}})
}

fn problems(spec: &Value) -> Vec<String> {
    let problems = Structural::compile(&schema()).problems(&json!({"spec": spec}), None);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn each_wrong_value_is_named_with_what_was_expected() {
    for (spec, expected) in [
        (json!({}), "spec.size: Required value"),
        (json!({"size": "huge"}), "spec.size: Unsupported value: \"huge\": supported values: \"small\", \"large\""),
        (json!({"size": "small", "colour": "RED"}), "spec.colour: Invalid value: \"RED\": spec.colour in body should match '^[a-z]+$'"),
        (json!({"size": "small", "colour": "a"}), "spec.colour: Invalid value: \"a\": spec.colour in body should be at least 2 chars long"),
        (json!({"size": "small", "colour": "abcdef"}), "spec.colour: Too long: may not be more than 5 bytes"),
        (json!({"size": "small", "count": 11}), "spec.count: Invalid value: 11: spec.count in body should be less than or equal to 10"),
        (
            json!({"size": "small", "count": 1.5}),
            "spec.count: Invalid value: \"number\": spec.count in body must be of type integer: \"number\"",
        ),
        (json!({"size": "small", "ratio": 0.7}), "spec.ratio: Invalid value: 0.7: spec.ratio in body should be a multiple of 0.5"),
        (json!({"size": "small", "ratio": -0.5}), "spec.ratio: Invalid value: -0.5: spec.ratio in body should be greater than 0"),
        (
            json!({"size": "small", "ratio": 1}),
            "spec.ratio: Invalid value: 0: factor MultipleOf declared for spec.ratio must be positive: 0",
        ),
        (
            json!({"size": "small", "port": [1]}),
            "spec.port: Invalid value: \"array\": spec.port in body must be of type integer,string: \"array\"",
        ),
        (
            json!({"size": "small", "when": "today"}),
            "spec.when: Invalid value: \"today\": spec.when in body must be of type date-time: \"today\"",
        ),
        (json!({"size": "small", "tags": ["a", "b", "c"]}), "spec.tags: Too many: 3: must have at most 2 items"),
        (json!({"size": "small", "tags": ["a", "a"]}), "spec.tags[1]: Duplicate value: \"a\""),
        (
            json!({"size": "small", "settings": {"k": 1}}),
            "spec.settings.k: Invalid value: \"integer\": spec.settings.k in body must be of type string: \"integer\"",
        ),
        (json!({"size": "small", "ports": [{"name": "a"}, {"name": "a"}]}), "spec.ports[1]: Duplicate value: {\"name\":\"a\"}"),
        (json!({"size": "small", "template": {"kind": "Pod"}}), "spec.template.apiVersion: Required value"),
    ] {
        assert_eq!(problems(&spec), [expected], "{spec}");
    }
    for good in [
        json!({"size": "small", "note": null, "port": 80, "count": 2.0}),
        json!({"size": "large", "port": "http", "free": {"x": [1]}, "when": "2001-02-03T04:05:06Z", "ratio": 1.5}),
    ] {
        assert_eq!(problems(&good), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn what_an_update_leaves_alone_is_not_held_against_it() {
    let schema = Structural::compile(&schema());
    let before = json!({"spec": {"size": "huge", "ports": [{"name": "a"}], "colour": "X"}});
    let mut after = before.clone();
    after["spec"]["ports"] = json!([{"name": "b"}, {"name": "a"}]);
    assert_eq!(schema.problems(&after, Some(&before)), []);
    after["spec"]["colour"] = json!("Y");
    assert_eq!(schema.problems(&after, Some(&before)).len(), 2, "too short, and no small letters");
}

#[test]
fn unknown_fields_go_and_what_was_left_out_comes() {
    let schema = Structural::compile(&schema());
    let mut object = json!({"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "x"}, "bogus": 1, "spec": {
        "size": "small", "colour": null, "note": null, "count": null, "shape": 1, "free": {"a": 1, "b": {"c": 1}},
        "ports": [{"name": "a", "x": 1}], "template": {"kind": "K", "metadata": {"name": "n", "bogus": 1}, "any": 1}}});
    assert_eq!(schema.prune(&mut object), ["bogus", "spec.ports[0].x", "spec.shape", "spec.template.metadata.bogus"]);
    schema.fill_defaults(&mut object);
    let expected = json!({"size": "small", "note": null, "free": {"a": 1, "b": {"c": 1}}, "ports": [{"name": "a", "port": 80}],
        "template": {"kind": "K", "metadata": {"name": "n"}, "any": 1}, "colour": "red", "limits": {"memory": 64}});
    assert_eq!(object["spec"], expected);
}

#[test]
fn rules_see_the_object_and_what_it_was() {
    let schema = Structural::compile(&json!({"type": "object", "properties": {"spec": {"type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "message": "min must not be over max"},
        {"rule": "self.max < 100", "messageExpression": "'over by ' + string(self.max - 99)", "reason": "FieldValueForbidden", "fieldPath": ".max"},
        {"rule": "!oldSelf.hasValue() || oldSelf.value().min <= self.min", "optionalOldSelf": true, "message": "min may only grow"},
    ],
    "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "half": {"type": "number", "x-kubernetes-validations": [{"rule": "self * 2.0 < 9.0"}]},
        "namespace": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
        "names": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('v')"}]}},
    }}}}));
    let check = |spec: Value, before: Option<Value>| {
        let before = before.map(|spec| json!({"spec": spec}));
        let problems = schema.problems(&json!({"spec": spec}), before.as_ref());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(check(json!({"min": 1, "max": 2, "half": 4, "names": ["v1"], "namespace": "a"}), None), Vec::<String>::new());
    assert_eq!(check(json!({"min": 3, "max": 2}), None), ["spec: Invalid value: min must not be over max"]);
    assert_eq!(check(json!({"min": 3, "max": 105}), None), ["spec.max: Forbidden: over by 6"]);
    assert_eq!(
        check(json!({"min": 1, "max": 2, "names": ["v", "x"]}), None),
        ["spec.names[1]: Invalid value: \"x\": failed rule: self.startsWith('v')"]
    );
    let before = json!({"min": 1, "max": 2, "namespace": "a"});
    assert_eq!(
        check(json!({"min": 1, "max": 2, "namespace": "b"}), Some(before.clone())),
        ["spec.namespace: Invalid value: \"b\": is immutable"]
    );
    assert_eq!(check(json!({"min": 0, "max": 2, "namespace": "a"}), Some(before)), ["spec: Invalid value: min may only grow"]);
}

#[test]
fn times_and_lengths_of_time_are_compared_as_such_in_rules() {
    let rule = "self.wait > duration('1m30s') && self.from + self.wait < self.to && self.none == 'text'";
    let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
        "wait": {"type": "string", "format": "duration"}, "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"}, "none": {"type": "string"}}});
    let structural = Structural::compile(&schema);
    let problems = |wait: &str, to: &str| {
        let object = json!({"wait": wait, "from": "2001-01-01T00:00:00Z", "to": to, "none": "text"});
        structural.problems(&object, None).len()
    };
    assert_eq!(problems("1.6m", "2001-01-01T02:00:00+01:00"), 0);
    assert_eq!(problems("90s", "2001-01-01T01:00:00Z"), 1);
    assert_eq!(problems("2h", "2001-01-01T02:00:00+01:00"), 1);
    assert_eq!(problems("soon", "2001-01-01T01:00:00Z"), 1, "a text of another format is refused before rules see it");
}

#[test]
fn lengths_of_time_are_read_to_the_nanosecond() {
    use super::formats::nanoseconds;
    for (text, expected) in [
        ("0", Some(0)),
        ("1h30m", Some(5_400_000_000_000)),
        ("-1.5s", Some(-1_500_000_000)),
        (".5ms", Some(500_000)),
        ("1µs2ns", Some(1_002)),
        ("2562047h47m16.854775807s", Some(i64::MAX)),
        ("2562048h", None),
        ("99999999999999999999999999999999999999999h", None),
        ("", None),
        ("-", None),
        (".s", None),
        ("1", None),
        ("1.2.3s", None),
        ("1d", None),
    ] {
        assert_eq!(nanoseconds(text), expected, "{text}");
    }
}

fn definition(change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = json!({
        "metadata": {"name": "gears.example.dev"},
        "spec": {"group": "example.dev", "scope": "Namespaced", "names": {"plural": "gears", "kind": "Gear"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    change(&mut definition);
    check::fill_in(&mut definition);
    definition
}

/// What is said of a new definition.
fn texts(definition: &Value) -> Vec<String> {
    check::name_problem(definition).iter().chain(&check::problems(definition)).map(ToString::to_string).collect()
}

#[test]
fn definitions_that_cannot_be_served_are_refused() {
    let with_schema = |schema: Value| definition(|of| of["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema);
    let at = "spec.validation.openAPIV3Schema";
    for (definition, expected) in [
        (
            definition(|of| of["metadata"]["name"] = json!("gears")),
            "metadata.name: Invalid value: \"gears\": must be spec.names.plural+\".\"+spec.group".to_owned(),
        ),
        (definition(|of| of["spec"]["names"]["kind"] = Value::Null), "spec.names.singular: Required value".into()),
        (definition(|of| of["spec"]["scope"] = json!("Here")), "spec.scope: Unsupported value: \"Here\"".into()),
        (definition(|of| of["spec"]["versions"][0]["storage"] = json!(false)), "exactly one version marked as storage version".into()),
        (
            definition(|of| of["spec"]["conversion"] = json!({"strategy": "Webhook"})),
            "spec.conversion.webhookClientConfig: Required value".into(),
        ),
        (
            definition(|of| {
                of["spec"]["versions"][0]["subresources"] = json!({"scale": {"specReplicasPath": ".n", "statusReplicasPath": ".status.n"}})
            }),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".n\": should be a json path under .spec".into(),
        ),
        (
            definition(|of| {
                of["spec"]["versions"][0]["additionalPrinterColumns"] = json!([{"name": "A", "type": "colour", "jsonPath": ".spec"}])
            }),
            "must be one of boolean,date,integer,number,string".into(),
        ),
        (
            definition(|of| of["spec"]["versions"][0]["selectableFields"] = json!([{"jsonPath": ".spec.x"}])),
            "selectableFields[0].jsonPath".into(),
        ),
        (with_schema(json!({"type": "object", "properties": {"a": {}}})), format!("{at}.properties[a].type: Required value")),
        (
            with_schema(json!({"type": "object", "properties": {"a": {"type": "array"}}})),
            format!("{at}.properties[a].items: Required value"),
        ),
        (with_schema(json!({"type": "object", "$ref": "#/x"})), format!("{at}.$ref: Forbidden")),
        (
            with_schema(json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "default": 1}}})),
            format!("{at}.properties[n].default: Invalid value: 1:  in body should be greater than or equal to 3"),
        ),
        (
            with_schema(json!({"type": "object", "properties": {"n": {"type": "string", "pattern": "("}}})),
            format!("{at}.properties[n].pattern"),
        ),
        (
            with_schema(json!({"type": "object", "properties": {"n": {"type": "string", "anyOf": [{"nullable": true}]}}})),
            format!("{at}.properties[n].anyOf[0].nullable: Forbidden"),
        ),
        (
            with_schema(
                json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.nothing > 1"}], "properties": {"n": {"type": "integer"}}}),
            ),
            "undefined field 'nothing'".into(),
        ),
        (
            with_schema(
                json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.n >"}], "properties": {"n": {"type": "integer"}}}),
            ),
            "compilation failed".into(),
        ),
        (
            with_schema(json!({"type": "object", "x-kubernetes-validations": [{"rule": "authorizer('x') > 1"}]})),
            "undeclared reference to 'authorizer'".into(),
        ),
    ] {
        let texts = texts(&definition);
        assert!(texts.iter().any(|text| text.contains(&expected)), "{expected}: {texts:?}");
    }
    assert_eq!(check::problems(&definition(|_| ())), []);
    assert_eq!(check::problems(&with_schema(schema())), []);
}

#[test]
fn names_are_accepted_once() {
    let first = definition(|_| ());
    let status = names::accept(&first, &[], "now");
    let told = |status: &Value| {
        let conditions = status["conditions"].as_array().unwrap().iter();
        conditions.map(|condition| format!("{} {}", condition["type"], condition["status"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(told(&status), ["NamesAccepted True", "Established True"]);
    assert_eq!(status["acceptedNames"]["listKind"], "GearList");
    assert_eq!(status["storedVersions"], json!(["v1"]));
    let other = definition(|of| {
        of["metadata"]["name"] = json!("cogs.example.dev");
        of["spec"]["names"] = json!({"plural": "cogs", "kind": "Gear"});
    });
    let refused = names::accept(&other, &[status["acceptedNames"].clone()], "now");
    assert_eq!(told(&refused), ["NamesAccepted False", "Established False"]);
    assert_eq!(refused["conditions"][0]["reason"], "ListKindConflict", "the last conflict is told");
    let again = json!({"spec": first["spec"], "status": status});
    assert_eq!(names::accept(&again, &[], "later"), again["status"], "nothing changes");
}

#[test]
fn paths_of_columns_find_what_they_name() {
    let object = json!({"spec": {"a.b": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]}});
    for (path, expected) in [
        (".spec.list[0].v", json!([1])),
        (".spec.list[-1].v", json!([2])),
        (".spec.list[*].v", json!([1, 2])),
        (".spec.list[?(@.n==\"y\")].v", json!([2])),
        (".spec.list[?(@.n!='y')].v", json!([1])),
        (".spec.list[?(@.v)].n", json!(["x", "y"])),
        (".spec['a.b']", json!([1])),
        (".spec.a\\.b", json!([1])),
        (".spec.none.deeper", json!([])),
    ] {
        assert_eq!(json!(Path::parse(path).unwrap().find(&object)), expected, "{path}");
    }
    for bad in ["spec", ".a[", ".a[x]", ".a[?(b==1)]", ".a..b", ".a[?(@.b==c)]"] {
        assert!(Path::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_scale_is_read_and_written_where_the_definition_says() {
    let version = json!({"subresources": {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"}}});
    let scale = ScalePaths::of(&version).unwrap();
    let mut object = json!({"spec": {"n": 2}, "status": {"n": 1, "s": "a=b"}});
    assert_eq!(scale.read(&object).unwrap(), (2, 1, "a=b".into()));
    scale.write(&mut object, 5);
    assert_eq!(object["spec"]["n"], 5);
    assert!(scale.read(&json!({})).is_err());
    let text = |object: Value| scale.problems(&object).first().map(ToString::to_string).unwrap_or_default();
    assert_eq!(text(json!({"spec": {"n": -1}})), ".spec.n: Invalid value: -1: should be a non-negative integer");
    assert!(text(json!({"spec": "text"})).ends_with("text is of the type string, expected map[string]interface{}"));
    assert!(text(json!({"spec": {"n": 2.0}})).ends_with("2 is of the type float64, expected int64"));
}
