//! What belongs to what: nothing goes that was to stay, however late each watch tells what happened.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::{Transport, World};

/// How much later than all others a watch tells what happened.
const LAG: Duration = Duration::from_millis(700);

/// Holds back every frame of the watches of one kind.
async fn late(State(plural): State<Arc<str>>, request: Request, next: Next) -> Response {
    let path = format!("/{plural}");
    let is_late = request.uri().path().ends_with(&path) && request.uri().query().unwrap_or_default().contains("watch=true");
    let response = next.run(request).await;
    if !is_late {
        return response;
    }
    let (parts, body) = response.into_parts();
    // Each frame is late by itself, and those after it are no later for it.
    let frames = body.into_data_stream().map(|frame| async move {
        tokio::time::sleep(LAG).await;
        Ok::<_, Infallible>(frame.unwrap_or_default())
    });
    Response::from_parts(parts, Body::from_stream(frames.buffered(1_000)))
}

async fn world(plural: &str) -> World {
    let layer = axum::middleware::from_fn_with_state(Arc::from(plural), late);
    World::behind(Transport::InProcess, |api| api.layer(layer)).await
}

async fn make<K>(api: &Api<K>, name: &str, owners: &[Value]) -> Value
where
    K: Resource<DynamicType = ()> + DeserializeOwned + serde::Serialize + Clone + std::fmt::Debug,
{
    let object = serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": owners}})).unwrap();
    let made = api.create(&PostParams::default(), &object).await.unwrap();
    reference(&K::api_version(&()), &K::kind(&()), &made.name_any(), &made.uid().unwrap())
}

fn reference(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "blockOwnerDeletion": true})
}

#[tokio::test]
async fn what_is_orphaned_stays_whatever_watch_is_late() {
    for plural in ["", "configmaps", "secrets", "serviceaccounts", "clusterroles"] {
        let world = world(plural).await;
        let (maps, secrets, accounts) = (world.of::<ConfigMap>(), world.of::<Secret>(), world.of::<ServiceAccount>());
        let roles = Api::<ClusterRole>::all(world.client.clone());
        let map = make(&maps, "map", &[]).await;
        let role = make(&roles, "role", &[]).await;
        make(&secrets, "of-map", std::slice::from_ref(&map)).await;
        make(&accounts, "of-map", std::slice::from_ref(&map)).await;
        make(&maps, "of-role", std::slice::from_ref(&role)).await;
        make(&roles, "of-role", std::slice::from_ref(&role)).await;
        maps.delete("map", &DeleteParams::orphan()).await.unwrap();
        roles.delete("role", &DeleteParams::orphan()).await.unwrap();
        world.until("the map is gone", || async { maps.get_opt("map").await.unwrap().is_none() }).await;
        world.until("the role is gone", || async { roles.get_opt("role").await.unwrap().is_none() }).await;
        tokio::time::sleep(2 * LAG).await;
        for left in [
            secrets.get("of-map").await.unwrap().metadata,
            accounts.get("of-map").await.unwrap().metadata,
            maps.get("of-role").await.unwrap().metadata,
            roles.get("of-role").await.unwrap().metadata,
        ] {
            assert!(left.owner_references.unwrap_or_default().is_empty() && left.deletion_timestamp.is_none(), "late: {plural}");
        }
    }
}

#[tokio::test]
async fn what_has_another_owner_stays_and_the_rest_goes_whatever_watch_is_late() {
    for plural in ["", "configmaps", "secrets", "serviceaccounts"] {
        for how in [DeleteParams::foreground(), DeleteParams::background()] {
            let world = world(plural).await;
            let (maps, secrets, accounts) = (world.of::<ConfigMap>(), world.of::<Secret>(), world.of::<ServiceAccount>());
            let (first, second) = (make(&maps, "first", &[]).await, make(&accounts, "second", &[]).await);
            make(&secrets, "of-first", std::slice::from_ref(&first)).await;
            make(&secrets, "of-both", &[first.clone(), second.clone()]).await;
            let moved = make(&secrets, "moved", std::slice::from_ref(&first)).await;
            make(&accounts, "of-moved", &[moved]).await;
            let change = json!({"metadata": {"ownerReferences": [second]}});
            secrets.patch("moved", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
            maps.delete("first", &how).await.unwrap();
            world.until("the owned is gone", || async { secrets.get_opt("of-first").await.unwrap().is_none() }).await;
            world.until("the owner is gone", || async { maps.get_opt("first").await.unwrap().is_none() }).await;
            tokio::time::sleep(2 * LAG).await;
            for name in ["of-both", "moved"] {
                let left = secrets.get(name).await.unwrap();
                let owners: Vec<&str> = left.owner_references().iter().map(|owner| owner.name.as_str()).collect();
                assert_eq!((owners, left.metadata.deletion_timestamp.is_none()), (vec!["second"], true), "late: {plural}, {name}");
            }
            assert!(accounts.get("of-moved").await.unwrap().metadata.deletion_timestamp.is_none());
        }
    }
}

#[tokio::test]
async fn what_cannot_be_known_is_left_alone() {
    let world = world("").await;
    let (maps, roles) = (world.of::<ConfigMap>(), Api::<ClusterRole>::all(world.client.clone()));
    let gone = "7b6b2c1e-0000-4000-8000-00000000000a";
    make(&maps, "of-unserved-kind", &[reference("some.example/v1", "Thing", "a", gone)]).await;
    make(&maps, "of-unserved-version", &[reference("v9", "ConfigMap", "a", gone)]).await;
    make(&roles, "of-somewhere", &[reference("v1", "ConfigMap", "a", gone)]).await;
    make(&maps, "of-nothing", &[reference("v1", "ConfigMap", "a", gone)]).await;
    world.until("garbage is gone", || async { maps.get_opt("of-nothing").await.unwrap().is_none() }).await;
    tokio::time::sleep(LAG).await;
    for name in ["of-unserved-kind", "of-unserved-version"] {
        maps.get(name).await.unwrap();
    }
    roles.get("of-somewhere").await.unwrap();
}

#[tokio::test]
async fn a_finalizer_of_others_is_kept_and_two_that_own_each_other_go() {
    for plural in ["", "configmaps", "secrets"] {
        let world = world(plural).await;
        let (maps, secrets) = (world.of::<ConfigMap>(), world.of::<Secret>());
        let map = make(&maps, "map", &[]).await;
        let secret = make(&secrets, "secret", std::slice::from_ref(&map)).await;
        let change = json!({"metadata": {"ownerReferences": [secret]}});
        maps.patch("map", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
        maps.delete("map", &DeleteParams::foreground()).await.unwrap();
        world
            .until("both are gone", || async {
                maps.get_opt("map").await.unwrap().is_none() && secrets.get_opt("secret").await.unwrap().is_none()
            })
            .await;
        let held = make(&maps, "held", &[]).await;
        make(&secrets, "of-held", &[held]).await;
        let change = json!({"metadata": {"finalizers": ["some.example/hold"]}});
        maps.patch("held", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
        maps.delete("held", &DeleteParams::orphan()).await.unwrap();
        tokio::time::sleep(2 * LAG).await;
        let held = maps.get("held").await.unwrap();
        assert_eq!(held.metadata.finalizers.unwrap(), ["some.example/hold"]);
        assert!(secrets.get("of-held").await.unwrap().owner_references().is_empty());
    }
}
