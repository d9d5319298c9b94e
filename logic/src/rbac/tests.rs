use serde_json::json;

use super::*;

fn policy() -> Policy {
    let mut policy = Policy::default();
    let mut set = |resource: &str, namespace: &str, name: &str, object: Value| policy.set(resource, namespace, name, Some(&object));
    let reader = json!({"rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["open"]},
        {"apiGroups": [""], "resources": ["pods/log", "*/scale"], "verbs": ["*"]}]});
    set("roles", "n", "reader", reader);
    set(
        "clusterroles",
        "",
        "watcher",
        json!({"rules": [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list", "watch"]},
        {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]}]}),
    );
    set(
        "rolebindings",
        "n",
        "r",
        json!({"roleRef": {"kind": "Role", "name": "reader"}, "subjects": [
        {"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "namespace": "n", "name": "bot"}]}),
    );
    set(
        "rolebindings",
        "m",
        "w",
        json!({"roleRef": {"kind": "ClusterRole", "name": "watcher"}, "subjects": [{"kind": "Group", "name": "crew"}]}),
    );
    set(
        "clusterrolebindings",
        "",
        "w",
        json!({"roleRef": {"kind": "ClusterRole", "name": "watcher"}, "subjects": [{"kind": "User", "name": "ops"}]}),
    );
    set(
        "clusterrolebindings",
        "",
        "x",
        json!({"roleRef": {"kind": "ClusterRole", "name": "gone"}, "subjects": [{"kind": "User", "name": "eve"}]}),
    );
    policy
}

/// Asks `WHO VERB RESOURCE NAMESPACE NAME`, with `-` for nothing, or `WHO VERB /path`.
#[track_caller]
fn check(question: &str, expected: &str) {
    let words: Vec<&str> = question.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
    let groups = if words[0] == "member" { vec!["crew".to_owned()] } else { Vec::new() };
    let deed = match words.as_slice() {
        [_, verb, path] => Deed::Path { verb, path },
        [_, verb, resource, namespace, name] => {
            let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
            Deed::Resource { verb, group, resource, namespace, name }
        }
        _ => panic!("{question}"),
    };
    let decision = policy().decide(Asker { name: words[0], groups: &groups }, deed);
    let told = decision.allowed.map_or_else(|| decision.missing.join(", "), |reason| reason.replace("RBAC: allowed by ", ""));
    assert_eq!(told, expected, "{question}");
}

#[test]
fn only_what_a_binding_gives_is_allowed() {
    let reader = "RoleBinding \"r/n\" of Role \"reader\" to User \"jane\"";
    check("jane get configmaps n open", reader);
    check("jane get configmaps n closed", "");
    check("jane get configmaps n -", "");
    check("jane list configmaps n open", "");
    check("jane get configmaps m open", "");
    check("jane get configmaps - open", "");
    check("jane get pods/log n a", reader);
    check("jane delete pods/log n a", reader);
    check("jane get pods n a", "");
    check("jane get pods/exec n a", "");
    check("jane get pods/scale n a", reader);
    check("jane get services/scale.conductor.dev n a", "");
    check("bot get pods/log n a", "");
    check("system:serviceaccount:n:bot get pods/log n a", "RoleBinding \"r/n\" of Role \"reader\" to ServiceAccount \"bot/n\"");
    check("system:serviceaccount:m:bot get pods/log n a", "");
    check("system:serviceaccount:n:bot2 get pods/log n a", "");
}

#[test]
fn a_cluster_role_holds_where_its_binding_is() {
    let crew = "RoleBinding \"w/m\" of ClusterRole \"watcher\" to Group \"crew\"";
    check("member watch services.conductor.dev m -", crew);
    check("member watch services.conductor.dev n -", "");
    check("member watch services.conductor.dev - -", "");
    check("member get /metrics", "");
    let ops = "ClusterRoleBinding \"w\" of ClusterRole \"watcher\" to User \"ops\"";
    check("ops list nodes - -", ops);
    check("ops list pods n -", ops);
    check("ops get pods n a", "");
    check("ops get /metrics", ops);
    check("ops get /metrics/more", "");
    check("ops get /logs/a/b", ops);
    check("ops post /logs/a/b", "");
}

#[test]
fn a_binding_to_a_role_that_is_gone_is_told_of() {
    check("eve get pods n a", "clusterrole.rbac.authorization.k8s.io \"gone\" not found");
    let mut policy = policy();
    policy.set("rolebindings", "n", "r", None);
    let jane = Asker { name: "jane", groups: &[] };
    assert!(policy.rules_of(jane, "n").is_empty());
    policy.set("roles", "n", "reader", None);
    assert!(policy.role("n", "reader").is_none());
}

#[test]
fn what_is_not_held_cannot_be_given() {
    let rules = |value: Value| Rule::list(&value);
    let held = rules(json!([
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["/logs/*"], "verbs": ["get"]}]));
    for (wanted, expected) in [
        (json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]), ""),
        (json!([{"apiGroups": ["apps"], "resources": ["x/scale"], "verbs": ["patch"]}]), ""),
        (json!([{"apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["list"]}]), ""),
        (json!([{"nonResourceURLs": ["/logs/a", "/logs/b*"], "verbs": ["get"]}]), ""),
        (json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"]}]), ""),
        (
            json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]),
            "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}",
        ),
        (
            json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete", "patch"]}]),
            "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"patch\"]}",
        ),
        (
            json!([{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"]}]),
            "{APIGroups:[\"*\"], Resources:[\"pods\"], Verbs:[\"get\"]}",
        ),
        (json!([{"nonResourceURLs": ["/"], "verbs": ["get"]}]), "{NonResourceURLs:[\"/\"], Verbs:[\"get\"]}"),
    ] {
        assert_eq!(shown(&beyond(&held, &rules(wanted.clone()))), expected, "{wanted}");
    }
    assert!(beyond(&everything(), &held).is_empty());
    assert_eq!(beyond(&held, &everything()).len(), 2);
}

#[test]
fn a_rule_of_too_many_parts_is_compared_whole() {
    let many: Vec<String> = (0..1_000).map(|at| at.to_string()).collect();
    let rule = Rule { verbs: many.clone(), groups: many.clone(), resources: many, ..Rule::default() };
    assert_eq!(beyond(&[], std::slice::from_ref(&rule)), vec![rule.clone()]);
    assert!(beyond(&everything(), &[rule]).is_empty());
}

#[test]
fn roles_are_gathered_by_their_labels() {
    let objects = defaults();
    let role = |name: &str| objects.iter().find(|object| object["metadata"]["name"] == name && object["kind"] == "ClusterRole").unwrap();
    let view = aggregated(role("view"), objects.iter()).unwrap();
    assert!(view.iter().any(|rule| rule["resources"].to_string().contains("configmaps")));
    assert!(!Value::from(view.clone()).to_string().contains("secrets"), "who may only look sees no secrets");
    assert!(aggregated(role("cluster-admin"), objects.iter()).is_none());
    // As the controller does it, level by level.
    let mut edit_made = role("edit").clone();
    let mut view_made = role("view").clone();
    view_made["rules"] = json!(view);
    edit_made["rules"] = json!(aggregated(role("edit"), [role("system:aggregate-to-edit"), &view_made].into_iter()).unwrap());
    let edit = Rule::list(&edit_made["rules"]);
    assert!(beyond(&edit, &Rule::list(&json!(view))).is_empty(), "who may edit may look");
    let exec = Deed::Resource { verb: "create", group: "", resource: "pods/exec", namespace: "n", name: "a" };
    assert!(edit.iter().any(|rule| rule.allows(exec)));
    let roles = Deed::Resource { verb: "create", group: model::rbac::GROUP, resource: "roles", namespace: "n", name: "" };
    assert!(!edit.iter().any(|rule| rule.allows(roles)));
    // Who may edit runs programs and is not taken for a ServiceAccount, which may have been given more; who administers a namespace is.
    let admin = Rule::list(&json!(aggregated(role("admin"), [role("system:aggregate-to-admin"), &edit_made].into_iter()).unwrap()));
    for (verb, resource) in [("create", "serviceaccounts/token"), ("impersonate", "serviceaccounts")] {
        let deed = Deed::Resource { verb, group: "", resource, namespace: "n", name: "bot" };
        assert!(!edit.iter().any(|rule| rule.allows(deed)), "{deed:?}");
        assert!(admin.iter().any(|rule| rule.allows(deed)), "{deed:?}");
    }
}

#[test]
fn defaults_are_well_formed_and_added_to_what_is_there() {
    let objects = defaults();
    assert!(objects.len() > 10);
    for object in &objects {
        let kind = [model::rbac::cluster_role(), model::rbac::cluster_role_binding()]
            .into_iter()
            .find(|kind| object["kind"] == kind.kind.as_str())
            .unwrap();
        assert!((kind.validate)(object).is_empty(), "{object}");
        assert_eq!(merged(object, object), None, "{object}");
    }
    let discovery = objects.iter().find(|object| object["metadata"]["name"] == "system:discovery").unwrap();
    let mut there = discovery.clone();
    there["rules"] = json!([{"nonResourceURLs": ["/api"], "verbs": ["get", "head"]}]);
    let fixed = merged(&there, discovery).unwrap();
    assert_eq!(fixed["rules"][0], there["rules"][0], "what people added stays");
    assert!(beyond(&Rule::list(&fixed["rules"]), &Rule::list(&discovery["rules"])).is_empty());
    there["metadata"]["annotations"] = json!({});
    assert_eq!(merged(&there, discovery), None);
}

#[test]
fn what_an_older_default_allowed_too_much_is_taken_back() {
    let objects = defaults();
    let edit = objects.iter().find(|object| object["metadata"]["name"] == "system:aggregate-to-edit").unwrap();
    let mut older = edit.clone();
    older["rules"].as_array_mut().unwrap().extend([
        json!({"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}),
        json!({"apiGroups": [""], "resources": ["serviceaccounts/token", "pods/eviction"], "verbs": ["create"]}),
        json!({"apiGroups": ["x.test"], "resources": ["added"], "verbs": ["get"]}),
    ]);
    let mended = Rule::list(&merged(&older, edit).unwrap()["rules"]);
    let allows = |verb: &str, group: &str, resource: &str| {
        mended.iter().any(|rule| rule.allows(Deed::Resource { verb, group, resource, namespace: "n", name: "a" }))
    };
    assert!(!allows("impersonate", "", "serviceaccounts") && !allows("create", "", "serviceaccounts/token"));
    assert!(allows("create", "", "pods/eviction") && allows("get", "x.test", "added"), "all else stays");
}
