//! Rows of what a pod says as a whole.

use super::Verdict::{Honoured, Refused, Warned, With};
use super::{Row, all, holds, row};

const ENGINE_NETWORK: &str = "each container has a network of its own, which the engine gives it";
const OWN_USER: &str = "programs run as the user of the server";
const NO_NAMESPACES: &str = "programs share the machine with all others";
const NO_DEVICES: &str = "nodes have no devices to give away";
const ONLY_LABELS: &str = "nodes are chosen by nodeSelector, and copies are spread over them";
const NO_TOKEN: &str = "no token of a ServiceAccount is put into containers";
const NO_WEIGHING: &str = "pods are not weighed against each other";
const WINDOWS: &str = "nodes run Linux";

pub(super) static ROWS: &[Row] = &[
    all("PodSpec", "activeDeadlineSeconds", Refused("pods have no deadline of their own")),
    holds("PodSpec", "affinity", "Affinity"),
    all("PodSpec", "automountServiceAccountToken", Warned(NO_TOKEN)),
    holds("PodSpec", "containers", "Container"),
    row("PodSpec", "dnsConfig", Refused("names are looked up as the engine does"), Refused("names are looked up as the machine does")),
    row("PodSpec", "dnsPolicy", Refused("names are looked up as the engine does"), Refused("names are looked up as the machine does"))
        .unless(&["ClusterFirst", "ClusterFirstWithHostNet", "Default"]),
    all("PodSpec", "enableServiceLinks", Honoured),
    all("PodSpec", "ephemeralContainers", Refused("containers are not added to pods that are there")),
    all("PodSpec", "evictionResponders", Refused("nobody is asked before an eviction")),
    row("PodSpec", "hostAliases", Refused("the file of hosts is the engine's"), Refused("the file of hosts is the machine's")),
    row("PodSpec", "hostIPC", Refused("containers do not share the machine's IPC"), Honoured),
    row("PodSpec", "hostNetwork", Refused(ENGINE_NETWORK), Honoured),
    row("PodSpec", "hostPID", Refused("containers do not see the machine's processes"), Honoured),
    all("PodSpec", "hostUsers", Refused("pods have no user namespace of their own")).unless(&["true"]),
    row("PodSpec", "hostname", Refused("the host name is the pod's name"), Refused("the host name is the machine's")),
    row("PodSpec", "hostnameOverride", Refused("the host name is the pod's name"), Refused("the host name is the machine's")),
    holds("PodSpec", "imagePullSecrets", "LocalObjectReference"),
    holds("PodSpec", "initContainers", "Container"),
    all("PodSpec", "nodeName", Honoured),
    all("PodSpec", "nodeSelector", Honoured),
    holds("PodSpec", "os", "PodOS"),
    all("PodSpec", "overhead", Refused("no runtime has an overhead that is reckoned with")),
    all("PodSpec", "preemptionPolicy", Honoured),
    all("PodSpec", "priority", Warned(NO_WEIGHING)).unless(&["0"]),
    all("PodSpec", "priorityClassName", Warned(NO_WEIGHING)),
    holds("PodSpec", "readinessGates", "PodReadinessGate"),
    all("PodSpec", "resourceClaims", Refused(NO_DEVICES)),
    all("PodSpec", "resources", Refused("limits are those of containers")),
    all("PodSpec", "restartPolicy", Honoured),
    all("PodSpec", "runtimeClassName", Honoured),
    all("PodSpec", "schedulerName", Refused("there is no other scheduler")).unless(&["default-scheduler"]),
    all("PodSpec", "schedulingGates", Refused("pods are placed at once")),
    all("PodSpec", "schedulingGroup", Refused("pods are placed one by one")),
    holds("PodSpec", "securityContext", "PodSecurityContext"),
    all("PodSpec", "serviceAccount", Warned(NO_TOKEN)).unless(&["default"]),
    all("PodSpec", "serviceAccountName", Warned(NO_TOKEN)).unless(&["default"]),
    row("PodSpec", "setHostnameAsFQDN", Refused("pods have no domain"), Refused("the host name is the machine's")),
    row("PodSpec", "shareProcessNamespace", Refused("each container sees its own processes alone"), Honoured),
    row("PodSpec", "subdomain", Refused("pods have no domain"), Refused("the host name is the machine's")),
    all("PodSpec", "terminationGracePeriodSeconds", Honoured),
    all("PodSpec", "tolerations", Warned("taints keep no pod away from a node")),
    holds("PodSpec", "topologySpreadConstraints", "TopologySpreadConstraint"),
    holds("PodSpec", "volumes", "Volume"),
    holds("Affinity", "nodeAffinity", "NodeAffinity"),
    holds("Affinity", "podAffinity", "PodAffinity"),
    holds("Affinity", "podAntiAffinity", "PodAntiAffinity"),
    all("NodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", Refused(ONLY_LABELS)),
    all("NodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", Warned(ONLY_LABELS)),
    all("PodAffinity", "requiredDuringSchedulingIgnoredDuringExecution", Refused(ONLY_LABELS)),
    all("PodAffinity", "preferredDuringSchedulingIgnoredDuringExecution", Warned(ONLY_LABELS)),
    all("PodAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", Refused(ONLY_LABELS)),
    all("PodAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution", Warned(ONLY_LABELS)),
    all("TopologySpreadConstraint", "topologyKey", Warned(ONLY_LABELS)),
    all("TopologySpreadConstraint", "whenUnsatisfiable", Refused(ONLY_LABELS)).unless(&["ScheduleAnyway"]),
    all("TopologySpreadConstraint", "labelSelector", With("topologyKey")),
    all("TopologySpreadConstraint", "matchLabelKeys", With("topologyKey")),
    all("TopologySpreadConstraint", "maxSkew", With("topologyKey")),
    all("TopologySpreadConstraint", "minDomains", With("topologyKey")),
    all("TopologySpreadConstraint", "nodeAffinityPolicy", With("topologyKey")),
    all("TopologySpreadConstraint", "nodeTaintsPolicy", With("topologyKey")),
    all("LocalObjectReference", "name", Honoured),
    all("PodOS", "name", Refused(WINDOWS)).unless(&["linux"]),
    all("PodReadinessGate", "conditionType", Honoured),
    row("PodSecurityContext", "appArmorProfile", Refused("the engine's own profile is in force"), Refused(OWN_USER)),
    row("PodSecurityContext", "fsGroup", Refused("volumes belong to whom the engine gives them"), Refused(NO_NAMESPACES)),
    all("PodSecurityContext", "fsGroupChangePolicy", With("fsGroup")),
    row("PodSecurityContext", "runAsGroup", Refused("containers run as their image says"), Refused(OWN_USER)),
    row("PodSecurityContext", "runAsNonRoot", Refused("containers run as their image says"), Refused(OWN_USER)),
    row("PodSecurityContext", "runAsUser", Refused("containers run as their image says"), Refused(OWN_USER)),
    all("PodSecurityContext", "seLinuxChangePolicy", Refused("labels of SELinux are not set")),
    all("PodSecurityContext", "seLinuxOptions", Refused("labels of SELinux are not set")),
    row("PodSecurityContext", "seccompProfile", Refused("the engine's own profile is in force"), Refused(OWN_USER)),
    row("PodSecurityContext", "supplementalGroups", Refused("containers run as their image says"), Refused(OWN_USER)),
    all("PodSecurityContext", "supplementalGroupsPolicy", Refused("groups are those of the image and those that are named"))
        .unless(&["Merge"]),
    row("PodSecurityContext", "sysctls", Refused("the kernel's settings are the engine's"), Refused(NO_NAMESPACES)),
    all("PodSecurityContext", "windowsOptions", Refused(WINDOWS)),
];
