// ConduitCluster
