"""Ranks on the machines of a Ray cluster: `dianoia run RECIPE --cluster ray`. No torch.

The command is only the driver: it reserves room on the cluster, ships the code and the recipe, starts the same command once per
rank with the environment that torchrun would set, and shows what the ranks print. Ray carries no data of the training.

    driver      connects to the cluster, reserves room, has everything checked, and runs the ranks
    bundles     how many ranks on how many nodes, by what the nodes have; the environment of each rank
    shipment    the files that a recipe reads: those to ship, and those that every node has to see
    command     the command as the driver sees it: all ranks, their output and their ends
    rank_actor  on a node: what it is, what it sees, and the process of one rank
    end_with    a rank's process, which ends with the actor that has started it
"""
