//! Rows of volumes and of where they are mounted.

use super::Verdict::{Honoured, Refused, With};
use super::{Row, all, row};

const NO_MOUNTS: &str = "programs see the files of the machine, and nothing is mounted for them";
const NOT_YET: &str = "nothing is mounted into containers";
const NOT_LOCAL: &str = "volumes are those of the node: there are no drivers for others";

pub(super) static ROWS: &[Row] = &[
    all("Volume", "name", Honoured),
    all("Volume", "awsElasticBlockStore", Refused(NOT_LOCAL)).present(),
    all("Volume", "azureDisk", Refused(NOT_LOCAL)).present(),
    all("Volume", "azureFile", Refused(NOT_LOCAL)).present(),
    all("Volume", "cephfs", Refused(NOT_LOCAL)).present(),
    all("Volume", "cinder", Refused(NOT_LOCAL)).present(),
    row("Volume", "configMap", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    all("Volume", "csi", Refused(NOT_LOCAL)).present(),
    row("Volume", "downwardAPI", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    row("Volume", "emptyDir", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    all("Volume", "ephemeral", Refused(NOT_LOCAL)).present(),
    all("Volume", "fc", Refused(NOT_LOCAL)).present(),
    all("Volume", "flexVolume", Refused(NOT_LOCAL)).present(),
    all("Volume", "flocker", Refused(NOT_LOCAL)).present(),
    all("Volume", "gcePersistentDisk", Refused(NOT_LOCAL)).present(),
    all("Volume", "gitRepo", Refused(NOT_LOCAL)).present(),
    all("Volume", "glusterfs", Refused(NOT_LOCAL)).present(),
    row("Volume", "hostPath", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    all("Volume", "image", Refused(NOT_LOCAL)).present(),
    all("Volume", "iscsi", Refused(NOT_LOCAL)).present(),
    all("Volume", "nfs", Refused(NOT_LOCAL)).present(),
    all("Volume", "persistentVolumeClaim", Refused(NOT_LOCAL)).present(),
    all("Volume", "photonPersistentDisk", Refused(NOT_LOCAL)).present(),
    all("Volume", "portworxVolume", Refused(NOT_LOCAL)).present(),
    row("Volume", "projected", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    all("Volume", "quobyte", Refused(NOT_LOCAL)).present(),
    all("Volume", "rbd", Refused(NOT_LOCAL)).present(),
    all("Volume", "scaleIO", Refused(NOT_LOCAL)).present(),
    row("Volume", "secret", Refused(NOT_YET), Refused(NO_MOUNTS)).present(),
    all("Volume", "storageos", Refused(NOT_LOCAL)).present(),
    all("Volume", "vsphereVolume", Refused(NOT_LOCAL)).present(),
    all("VolumeMount", "mountPath", With("volumes")),
    all("VolumeMount", "name", With("volumes")),
    all("VolumeMount", "readOnly", With("volumes")),
    all("VolumeMount", "bindMountOptions", With("volumes")),
    all("VolumeMount", "mountPropagation", With("volumes")),
    all("VolumeMount", "recursiveReadOnly", With("volumes")),
    all("VolumeMount", "subPath", With("volumes")),
    all("VolumeMount", "subPathExpr", With("volumes")),
];
