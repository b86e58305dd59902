"""What the Runner needs from this project: checkpoints, precision, processes and hooks."""

from cellseg.engine.atomic_checkpoint_hook import AtomicCheckpointHook, AtomicLocalBackend
from cellseg.engine.channels_last_hook import ChannelsLastHook
from cellseg.engine.checkpoint_loading import CheckpointError, load_checkpoint_file
from cellseg.engine.checkpoints import configure_resume, find_resumable_checkpoint
from cellseg.engine.cpu_amp import CpuAmpOptimWrapper
from cellseg.engine.finite_loss_hook import FiniteLossHook, NonFiniteLossError
from cellseg.engine.keep_memory_hook import KeepMemoryHook
from cellseg.engine.process_group import LaunchError, init_process_group, set_thread_counts
from cellseg.engine.record_hook import ModelRecordHook
from cellseg.engine.visualization_hook import CellVisualizationHook
from cellseg.engine.weight_fit import WeightFitHook
