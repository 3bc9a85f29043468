"""The parameters of a training: every `ds_*` variable of the job, read once into one frozen record.

The names are those of the 2016 notebook, less the prefix. A field's metadata describe its values and its meaning.
Reading, the fault messages, hyper.json and the table in the documentation all follow from them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ..errors import UsageTrouble
from ..variables import Variable, read
from . import cluster
from . import parameter_types as types
from .text import BYTES, Alphabet, Bytes, read_alphabet

# ruff: noqa: RUF009  # the calls in the record's defaults are dataclasses.field, in functions named after the kind of field

N_INPUT = 26  # coefficients per frame
N_CONTEXT = 9  # frames of context on each side
IMPORTERS = ("an4", "common_voice", "csv", "ldc93s1", "librivox", "synthetic", "ted")
GREEDY, BEAM, LM = "greedy", "beam", "lm"
MOST_TEST_SETS = 10  # as many as the tracker judges
STRICT, FOLD = "strict", "fold"
DECODERS = (GREEDY, BEAM, LM)
EACH, RUNNING = "each", "running"


def _field(value: object, check: Callable[[str], object], meaning: str, default: str | None = None) -> Any:
    """A field whose metadata are those of a Variable without its name; `default` is the text of `value`, if any."""
    return field(default=value, metadata={"default": default, "check": check, "meaning": meaning})


def _number(default: float, meaning: str, *, least: float, most: float = math.inf) -> Any:
    return _field(default, types.number(type(default), least, most), meaning, str(default))


def _optional_number(meaning: str, *, least: float, most: float) -> Any:
    return _field(None, types.unless_empty(types.number(float, least, most), None), meaning)


def _width(meaning: str) -> Any:
    """A width; 0 means that it follows from another one, see `_resolve`."""
    return _field(0, types.number(int, 0, 65_536), meaning)


def _text(default: str, meaning: str) -> Any:
    return _field(default, str, meaning, default)


def _word(default: str, meaning: str, *choices: str) -> Any:
    return _field(default, types.one_of(*choices), meaning, default)


def _words(default: str, meaning: str, *choices: str) -> Any:
    return _field(default, types.some_of(*choices), meaning, default)


def _share(meaning: str) -> Any:
    return _number(0.0, f"share of utterances {meaning}; 0: off", least=0, most=1)


def _span(default: str, meaning: str, kind: type[float], least: float, most: float) -> Any:
    return _field(default, types.span(kind, least, most), meaning, default)


def _path(meaning: str, default: str | None = None) -> Any:
    value = None if default is None else Path(default)
    return _field(value, types.unless_empty(types.path, value), meaning, default)


@dataclass(frozen=True)
class Parameters:
    """The settings of one training. Widths are resolved: none is 0."""

    # the corpus
    importer: str = _word("synthetic", "where the speech comes from", *IMPORTERS)
    dataset_path: Path | None = _path(
        "directory of the corpus; unset: one in the cache, to which it is downloaded or synthesised (not for csv)"
    )
    mirror_url: str = _text("", "where to download public corpora from instead: an address, or a directory")
    text: str = _word(
        STRICT,
        "transcripts as they are (strict), or in the letters and the case of the alphabet, without punctuation, quotes "
        "and invisible characters (fold)",
        STRICT,
        FOLD,
    )
    resample: bool = _field(
        False,
        types.switch,
        "convert recordings of other rates and with several channels, instead of refusing them",
        "0",
    )
    limit_train: int = _number(0, "use only the first N training utterances; 0: all", least=0)
    limit_dev: int = _number(0, "the same for the validation set", least=0)
    limit_test: int = _number(0, "the same for the test set", least=0)
    test_sets: str = _field(
        "",
        types.names(MOST_TEST_SETS, "train", "dev", "test", "test_wer"),
        "test sets to measure each by itself, separated by commas: subsets (librivox), further tables (csv); unset: "
        "the corpus' own, where it has several",
        "",
    )
    test_set: str = _text(
        "", "the test set that gives test_wer; unset: all of them together (librivox), or test.csv alone (csv)"
    )
    synthetic_train: int = _number(800, "utterances synthesised for training (importer synthetic)", least=1)
    synthetic_dev: int = _number(100, "utterances synthesised for validation", least=1)
    synthetic_test: int = _number(200, "utterances synthesised for the test", least=1)

    librivox_subsets: str = _text(
        "train-clean-100,train-clean-360,train-other-500,dev-clean,dev-other,test-clean,test-other",
        "archives of LibriSpeech to use, separated by commas (importer librivox)",
    )
    common_voice_archive: str = _text("", "file name of a language's archive at ds_mirror_url (importer common_voice)")
    alphabet: Alphabet = _field(
        Alphabet(),
        types.unless_empty(lambda text: Bytes() if text == BYTES else read_alphabet(types.path(text)), Alphabet()),
        "file with the letters of the transcripts, one per line; bytes: UTF-8, for any language; unset: space, a-z and "
        "apostrophe",
    )

    # the network
    n_hidden: int = _number(128, "width of the layers whose own width is not set", least=1, most=65_536)
    n_hidden_1: int = _width("width of dense layer 1; unset: n_hidden")
    n_hidden_2: int = _width("width of dense layer 2; unset: n_hidden")
    n_hidden_3: int = _width("width of dense layer 3; unset: 2 x n_cell_dim")
    n_hidden_5: int = _width("width of dense layer 5; unset: n_hidden")
    n_cell_dim: int = _width("cells of the LSTM per direction; unset: n_hidden")
    lookahead: int = _number(
        0,
        "number of later frames, 20 ms each, that a letter may depend on, in a network for streams; 0: a bidirectional "
        "network, where it depends on the whole recording",
        least=0,
        most=100,
    )
    frame_stride: int = _number(1, "frames per step of the LSTM; each frame has logits; 1: as in 2016", least=1, most=8)
    relu_clip: float = _number(20.0, "upper bound of the dense layers' outputs: min(relu, this)", least=1e-3)
    dropout_rate: float = _number(
        0.05, "fraction of each dense layer's outputs dropped in training", least=0, most=0.95
    )
    initializer: str = _word(
        "glorot", "distribution of the initial weights: glorot, or normal with default_stddev", "glorot", "normal"
    )
    default_stddev: float = _number(0.046875, "standard deviation of the weights with initializer normal", least=1e-9)
    normalisation: str = _word(
        EACH,
        "features to mean 0, standard deviation 1: per coefficient (each), over all together (all), or per coefficient "
        "by the frames so far (running), as ds_lookahead needs",
        EACH,
        "all",
        RUNNING,
    )

    # the training
    epochs: int = _number(40, "passes over the training set", least=1)
    train_batch_size: int = _number(16, "utterances per training step", least=1)
    dev_batch_size: int = _number(32, "utterances per batch in validation", least=1)
    test_batch_size: int = _number(32, "utterances per batch in the test", least=1)
    max_seconds: float = _number(
        0.0, "seconds of speech in a batch, at most, with its padding and before augmentation; 0: no limit", least=0
    )
    learning_rate: float = _number(0.002, "Adam's learning rate; the peak of schedule one_cycle", least=0, most=10)
    schedule: str = _word(
        "one_cycle",
        "one_cycle: linear rise over a tenth of the steps, then a cosine to 0; or constant",
        "one_cycle",
        "constant",
    )
    beta1: float = _number(0.9, "Adam's decay rate of the mean", least=0, most=0.999999)
    beta2: float = _number(0.999, "Adam's decay rate of the variance", least=0, most=0.999999999)
    plateau: int = _number(
        0, "epochs without a lower validation loss after which the learning rate falls to a fifth; 0: off", least=0
    )
    early_stop: int = _number(
        0, "epochs without a lower validation loss after which the training ends; 0: off", least=0
    )
    epsilon: float = _number(1e-8, "Adam's guard against division by zero", least=1e-20)
    clip_norm: float = _number(5.0, "upper bound of the gradients' global norm; 0: none", least=0)
    automatic_mixed_precision: str = _field(
        types.OFF,
        types.precision,
        "float16 (or 1) or bfloat16: a training step computes in 16 bits, for GPUs with Tensor Cores; off: in 32 bits",
        types.OFF,
    )
    random_seed: int = _number(4567, "seed of weights, batches, dropout and augmentation", least=0, most=2**31 - 1)
    preset: str = _word(
        "",
        "2016: normalisation, initial weights, learning rate and no clipping as in the original, as defaults",
        "",
        "2016",
    )

    # augmentation of the training speech
    augment_tempo: float = _number(0.0, "relative change of tempo, at most, either way; 0: off", least=0, most=0.5)
    augment_pitch: float = _number(0.0, "relative change of vocal tract length, likewise", least=0, most=0.5)
    augment_frequency_masks: int = _number(0, "masks of up to 6 of the 26 mel bands", least=0, most=20)
    augment_time_masks: int = _number(0, "masks of up to 10 frames, 0.2 s", least=0, most=100)
    augment_noise: float = _number(
        0.0, "standard deviation of noise added to the normalised features", least=0, most=10
    )
    augment_band_limit: float = _number(
        0.0, "share of utterances that lose what is above 4 kHz, as on the telephone; 0: off", least=0, most=1
    )
    augment_overlay: float = _share("with noise from recordings laid over them")
    augment_overlay_source: Path | None = _path(
        "directory of recordings of noise, or a text file with the path of one per line"
    )
    augment_overlay_snr: str = _span("5:25", "ratio of the powers of speech and noise in dB, LOW:HIGH", float, -40, 100)
    augment_overlay_layers: str = _span("1", "recordings at a time, LOW:HIGH", int, 1, 20)
    augment_reverb: float = _share("as heard in a room")
    augment_reverb_delay: str = _span("20:80", "ms to the first echo, LOW:HIGH", float, 1, 1000)
    augment_reverb_decay: str = _span("3:10", "dB that each echo is below the one before, LOW:HIGH", float, 0.5, 100)
    augment_volume: float = _share("with another volume, in 16 bits")
    augment_volume_dbfs: str = _span(
        "-40:-10", "their peak in dB of full scale, LOW:HIGH; above 0 they are clipped", float, -80, 40
    )
    augment_resample: float = _share("as recorded at another rate, in 16 bits")
    augment_resample_rate: str = _span("8000", "that rate in Hz, LOW:HIGH", int, 2000, 16_000)
    augment_codec: float = _share("as heard on the telephone: 8 kHz, 8-bit mu-law (G.711)")
    plain_epochs: int = _number(0, "epochs at the start without dropout and augmentation", least=0)

    # what is measured and logged, and when
    display_step: int = _number(
        1, "epochs between word error rates of the training batches, the last epoch always; 0: never", least=0
    )
    validation_step: int = _number(1, "epochs between validations, the last epoch always; 0: never", least=0)
    checkpoint_step: int = _number(1, "epochs between checkpoints, the last epoch always; 0: only the last", least=0)
    report_count: int = _number(10, "number of worst test utterances to print", least=0)
    log_variables: bool = _field(
        False, types.switch, "write TensorBoard summaries of weights and gradients after each epoch", "0"
    )

    # decoding
    decoder: str = _word(
        "greedy", "greedy: the best letter of each frame; beam: beam search; lm: with a language model", *DECODERS
    )
    decoders: str = _words("", "further decoders to measure, separated by commas", *DECODERS)
    beam_width: int = _number(100, "texts in the beam of decoders beam and lm", least=1, most=10_000)
    lm_path: Path | None = _path(
        "language model of decoder lm, ARPA or KenLM; unset: estimated from the training transcripts"
    )
    lm_order: int = _number(3, "order of the n-gram model that is estimated", least=1, most=9)
    lm_alpha: float | None = _optional_number(
        "weight of the language model; unset: tuned on the validation set", least=0, most=20
    )
    lm_beta: float | None = _optional_number("bonus per word, likewise", least=-20, most=20)

    # output and resources
    checkpoint_dir: Path | None = _path(
        "directory of the checkpoint, from which a training is resumed; unset: none is written"
    )
    save_checkpoint_dir: Path | None = _path("the same, in another directory than ds_checkpoint_dir")
    load_checkpoint_dir: Path | None = _path(
        "directory of another training's checkpoint, whose weights a new training begins with; unset: random ones"
    )
    drop_source_layers: int = _number(
        0,
        "layers of those, counted from the output, that begin with random weights: 1 for another alphabet",
        least=0,
        most=5,
    )
    keep_best: bool = _field(
        False,
        types.switch,
        "test and export the epoch of the lowest validation loss; it is kept as best.npz beside the last checkpoint",
        "0",
    )
    logs_dir: Path = _path("where each run makes a directory with its hyper.json", "logs")
    cache_dir: Path = _path("cache of features and corpora; unset: ~/.cache/deepspeech_wer/training")
    export_dir: Path | None = _path("where to export the trained network, as SavedModel and TFLite; unset: no export")
    devices: int = _number(0, "GPUs of each host among which each batch is split; 0: all", least=0, most=1024)
    distribute: str = _field(
        cluster.OFF,
        cluster.wanted,
        "several workers share each batch: those of a job of Slurm (slurm, or slurm:PORT), or those that TF_CONFIG "
        "names (tf_config); off: this process alone",
        cluster.OFF,
    )
    threads: int = _number(1, "processor threads", least=1, most=1024)
    wer_sha: str = _text("", "the commit that is trained, set by the tracker; unset: from git")
    wer_rerun_of: str = _text("", "the run that a re-training repeats, set by the tracker: then nothing is exported")

    @property
    def kept_in(self) -> Path | None:
        """The directory of the training's own checkpoint."""
        return self.save_checkpoint_dir or self.checkpoint_dir

    @property
    def all_decoders(self) -> tuple[str, ...]:
        """The decoder of `test_wer`, then the others without repeats."""
        further = [name for name in DECODERS if name in self.decoders.split(",")]
        return (self.decoder, *(name for name in further if name != self.decoder))

    @property
    def test_set_names(self) -> list[str]:
        return self.test_sets.split(",") if self.test_sets else []

    @property
    def n_hidden_6(self) -> int:
        return self.n_character

    @property
    def n_character(self) -> int:
        return len(self.alphabet.letters) + 1  # plus CTC's blank


PRESETS: dict[str, dict[str, object]] = {
    "": {},
    "2016": {
        "normalisation": "all",
        "initializer": "normal",
        "learning_rate": 0.001,
        "schedule": "constant",
        "clip_norm": 0.0,
    },
}
VARIABLES = tuple(Variable(name=f"ds_{entry.name}", **entry.metadata) for entry in fields(Parameters))
LEGACY = {"ds_epochs": "ds_training_iters"}  # its name in the notebook's first version


def from_process() -> Parameters:
    """Return the parameters of this process. Only here and in `cluster_of_process` the training reads os.environ."""
    return from_environment(os.environ)


def cluster_of_process(parameters: Parameters) -> cluster.Cluster | None:
    """Return the workers that train together with this process; None: it trains alone. Raises UsageTrouble."""
    return cluster.find(parameters.distribute, os.environ)


def from_environment(environ: Mapping[str, str]) -> Parameters:
    """Return the parameters in environment variables. Raises UsageTrouble with all faults, one per line."""
    values: dict[str, Any] = dict(PRESETS.get(environ.get("ds_preset", ""), {}))
    faults: list[str] = []
    for variable in VARIABLES:
        spelled = variable if variable.name in environ else _legacy(variable)
        if spelled.name in environ:
            values[_field_name(variable)] = read(spelled, environ[spelled.name], faults, separator="=")
    if faults:
        raise UsageTrouble("\n".join(faults))
    if values.get("lookahead") and "ds_normalisation" not in environ:
        values["normalisation"] = RUNNING
    _check_together(Parameters(**values))
    if values.get("cache_dir") is None:
        values["cache_dir"] = _cache_home(environ) / "deepspeech_wer" / "training"
    return _resolve(Parameters(**values))


def _check_together(given: Parameters) -> None:
    """Raise UsageTrouble for values that contradict each other."""
    faults = []
    if given.load_checkpoint_dir is not None and given.load_checkpoint_dir == given.kept_in:
        faults.append(
            f"ds_load_checkpoint_dir={str(given.load_checkpoint_dir)!r}: is where this training's own checkpoint goes: "
            "expected another directory"
        )
    if given.drop_source_layers and given.load_checkpoint_dir is None:
        faults.append("ds_drop_source_layers: expected ds_load_checkpoint_dir, too")
    if given.augment_overlay and given.augment_overlay_source is None:
        faults.append(f"ds_augment_overlay={given.augment_overlay:g}: expected ds_augment_overlay_source, too")
    if (given.normalisation == RUNNING) != bool(given.lookahead):
        faults.append(
            f"ds_normalisation={given.normalisation!r}: expected running with ds_lookahead, another without: "
            "a stream cannot wait for the mean of the whole"
        )
    if given.lookahead and given.frame_stride > 1:
        faults.append(f"ds_frame_stride={given.frame_stride}: expected 1 with ds_lookahead")
    needing = [name for name in ("plateau", "early_stop", "keep_best") if getattr(given, name)]
    if needing and not given.validation_step:
        faults.append(f"ds_validation_step=0: expected 1 or more with ds_{needing[0]}")
    if faults:
        raise UsageTrouble("\n".join(faults))


def _cache_home(environ: Mapping[str, str]) -> Path:
    """Return XDG_CACHE_HOME, or ~/.cache; the base directory specification ignores a relative path."""
    given = Path(environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else types.path("~/.cache")


def website_is_set() -> bool:
    """Whether this process may publish: then it is a run by hand, because the tracker hides that from its jobs."""
    return any(name.startswith("ds_website_") for name in os.environ)


def table() -> list[tuple[str, str, str]]:
    """Return (variable, default, meaning) of every parameter, for the documentation."""
    return [(variable.name, variable.default or "", variable.meaning) for variable in VARIABLES]


def _legacy(variable: Variable) -> Variable:
    """The variable under its former name, if it has one."""
    return variable._replace(name=LEGACY.get(variable.name, variable.name))


def _field_name(variable: Variable) -> str:
    return variable.name.removeprefix("ds_")


def _resolve(given: Parameters) -> Parameters:
    """Fill in the widths that follow from others."""
    cells = given.n_cell_dim or given.n_hidden
    return replace(
        given,
        n_hidden_1=given.n_hidden_1 or given.n_hidden,
        n_hidden_2=given.n_hidden_2 or given.n_hidden,
        n_hidden_3=given.n_hidden_3 or 2 * cells,
        n_hidden_5=given.n_hidden_5 or given.n_hidden,
        n_cell_dim=cells,
    )
