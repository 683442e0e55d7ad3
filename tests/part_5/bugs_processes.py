"""Bugs of experts that are trained in several processes."""

from planted import Bug

HYBRID, LEARNING = "part_5/moe/hybrid.py", "part_5/moe/learning.py"
PARALLEL, TRAIN = "part_5/moe/expert_parallel.py", "part_5/train_moe.py"
TEST = "tests/part_5/test_processes.py"
LOSS = TEST + "::test_the_losses_of_two_halves_with_unlike_labels_add_up_to_that_of_the_whole"
TRAINS = TEST + "::test_two_processes_train_as_one_does"

BUGS = [
    Bug("each process's balance loss is of its own loads", HYBRID,
        "moe.router_loss(replace(moe.routing, load=load))", "moe.router_loss(moe.routing)", LOSS),
    Bug("the routers' loss is weighted by labels", HYBRID,
        "moe.loss = undone * moe.router_loss(", "moe.loss = moe.router_loss(", LOSS),
    Bug("the routers' loss counts once for each process", HYBRID,
        "undone = summed[-1] / (labels.clamp(min=1) * self.processes.world)",
        "undone = summed[-1] / labels.clamp(min=1)", LOSS),
    Bug("each process moves its biases by its own load", "part_5/run/loop.py",
        "unwrapped(model).update_biases(processes)", "unwrapped(model).update_biases()", TRAINS),
    Bug("the fullest expert is that of one process", HYBRID,
        "for load in self.processes.sum(self.loads()))", "for load in self.loads())", TRAINS),
    Bug("the gradient of the experts is as many times too large as there are processes", PARALLEL,
        "part.register_hook(lambda grad: grad / together.world)", "part.register_hook(lambda grad: grad)",
        TRAINS),
    Bug("DDP takes the mean of unlike experts", PARALLEL,
        "[name for name, p in model.named_parameters() if isinstance(p, DTensor)])", "[])", TRAINS),
    Bug("all but the experts learns from its own process alone", PARALLEL,
        'return wrap(model, "ddp", together, device)', "return model", TRAINS),
    Bug("every process keeps the first experts", PARALLEL,
        "stacked.detach()[self.rank * many:(self.rank + 1) * many]", "stacked.detach()[:many]", TRAINS),
    Bug("the experts of a process are in the other order", PARALLEL,
        "part = nn.Parameter(DTensor.from_local(own.detach(), mesh, [Shard(0)], run_check=False))",
        "part = nn.Parameter(DTensor.from_local(own.detach().flip(0), mesh, [Shard(0)], run_check=False))",
        TRAINS),
    Bug("all processes read the rows of the first", LEARNING,
        "rows.batch(step, rows_a_step, processes.rank, processes.world)",
        "rows.batch(step, rows_a_step, 0, processes.world)", TRAINS),
    Bug("a resume reads its rows from the first one on", LEARNING,
        "rows.batch(step, rows_a_step,", "rows.batch(step - first, rows_a_step,", TRAINS),
    Bug("the loss is divided by the labels of one process", LEARNING,
        "rate=rate, processes=processes, begin", "rate=rate, begin", TRAINS),
    Bug("the moments in the checkpoint are those of one process's experts", "part_5/run/optim.py",
        "named[name] = {key: whole(value).detach()",
        "named[name] = {key: getattr(value, '_local_tensor', value).detach()", TRAINS),
    Bug("the model in the checkpoint is one process's", TRAIN,
        "    model = whole_model(run.model)  # all processes put it together\n", "    model = run.model\n",
        TRAINS),
    Bug("each process computes in the format that it found to be fast", "part_5/run/distributed.py",
        "number = names.index(runtime.amp_name) if processes.is_main else 0",
        "number = names.index(runtime.amp_name)", TEST + "::test_the_main_process_chooses_the_number_format"),
    Bug("experts that do not divide are found out later", "part_5/moe/settings.py",
        '    if args.parallel == "experts" and args.n_expert % world:', "    if False:",
        TEST + "::test_what_does_not_divide_is_refused_before_any_work"),
]
