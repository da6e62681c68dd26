# Headstart: one pass through a frozen net, then as many heads as you like. `make help` lists what there is.

TARGETS   = help setup data data-check extract train-head sweep probe learning-curve cv audit similar choose finetune info verify compare predict export demo benchmark gpu stress fuzz test lint types check clean clean-cache clean-all
NAMES     = DATA BACKBONE CACHE RUN IMAGES FORMAT NPROC PARTS RAY VIEWS SEEDS FOLDS REPEATS POOL N FORCE
VARIABLES = $(NAMES) CONFIG PYTHON PIP_ARGS CHECK_ARGS EXTRACT_ARGS HEAD_ARGS SWEEP_ARGS PROBE_ARGS CURVE_ARGS CV_ARGS AUDIT_ARGS SIMILAR_ARGS CHOOSE_ARGS FINETUNE_ARGS COMPARE_ARGS PREDICT_ARGS EXPORT_ARGS INFO_ARGS VERIFY_ARGS BENCHMARK_ARGS GPU_ARGS STRESS_ARGS FUZZ_ARGS

# What each target uses of the variables that only some use.
PASS = BACKBONE $(if $(CACHE),$(if $(DATA)$(CONFIG),EXTRACT_ARGS VIEWS NPROC PARTS RAY),EXTRACT_ARGS VIEWS NPROC PARTS RAY)
uses-data-check     = CHECK_ARGS
uses-extract        = EXTRACT_ARGS VIEWS BACKBONE NPROC PARTS RAY
uses-train-head     = HEAD_ARGS $(PASS) SEEDS NPROC
uses-sweep          = SWEEP_ARGS $(PASS) SEEDS NPROC
uses-probe          = PROBE_ARGS $(PASS)
uses-learning-curve = CURVE_ARGS $(PASS) SEEDS
uses-cv             = CV_ARGS $(PASS) FOLDS REPEATS
uses-audit          = AUDIT_ARGS $(PASS)
uses-similar        = SIMILAR_ARGS $(PASS) IMAGES
uses-choose         = CHOOSE_ARGS $(PASS) POOL N
uses-finetune       = FINETUNE_ARGS BACKBONE NPROC SEEDS
uses-info           = INFO_ARGS BACKBONE
uses-verify         = VERIFY_ARGS BACKBONE
uses-compare        = COMPARE_ARGS BACKBONE
uses-predict        = PREDICT_ARGS RUN IMAGES CACHE RAY
uses-export         = EXPORT_ARGS RUN IMAGES FORMAT
uses-clean-all      = FORCE
uses-benchmark      = BENCHMARK_ARGS BACKBONE
uses-gpu            = GPU_ARGS
uses-stress         = STRESS_ARGS
uses-fuzz           = FUZZ_ARGS
each      = $(if $(1),$(firstword $(1)) $(call each,$(filter-out $(firstword $(1)),$(1))))
USED = $(strip $(call each,$(foreach goal,$(MAKECMDGOALS),$(uses-$(goal)))))

# A variable or a target that does not exist ends make with the nearest one that does.
GIVEN    := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
MISTAKES := $(addsuffix =,$(filter-out $(VARIABLES) SHELL MAKE%,$(GIVEN))) $(filter-out $(TARGETS) .venv/ready,$(MAKECMDGOALS))
quoted    = '$(subst ','\'',$(1))'
meant     = $(shell PYTHONPATH=src $(or $(wildcard .venv/bin/python),$(PYTHON)) -m headstart.make_words $(VARIABLES:=\=) $(TARGETS) -- $(or $(USED),none) -- $(foreach word,$(MISTAKES),$(call quoted,$(word))) 2>/dev/null)

PYTHON   ?= python3
PIP_ARGS ?=

$(if $(strip $(MISTAKES)),$(error $(or $(meant),$(strip $(MISTAKES)): no such variable or target; make help lists them)))

# Names reach the programs through the environment, as they are: a folder may be called $$(reboot).
$(foreach name,$(NAMES),$(eval override $(name) := $$(value $(name))))
# Make takes spaces at the beginning away: a name that does not exist without one, and does with it, gets it back.
space    := $(if ,,) $(if ,,)
$(foreach name,$(filter DATA IMAGES POOL RUN,$(GIVEN)),$(if $(shell [ -e $(call quoted,$($(name))) ] || [ ! -e $(call quoted,$(space)$($(name))) ] || echo lost),$(eval override $(name) := $$(space)$$(value $(name)))))
CONFIG   ?= $(if $(DATA)$(CACHE),,digits)
export $(NAMES) CONFIG

# An empty NPROC= on the command line is a mistake, too.
$(if $(NPROC)$(filter NPROC,$(GIVEN)),$(if $(shell case $(call quoted,$(NPROC)) in (''|0*|*[!0-9]*) echo wrong;; esac),$(error NPROC=$(NPROC) is no number of processes: give 1 or more, such as NPROC=4, or leave it out)))

# So is an empty name: most often a variable of the shell that is not set. The demo alone means it.
EMPTY := $(if $(HEADSTART_DEMO),,$(foreach name,$(filter DATA BACKBONE CACHE RUN IMAGES POOL N,$(GIVEN)),$(if $(value $(name)),,$(name)=)))
$(if $(strip $(EMPTY)),$(error $(strip $(EMPTY)) is empty: give a name, or leave it out))

$(if $(filter choose,$(MAKECMDGOALS)),$(if $(POOL)$(CHOOSE_ARGS)$(filter CONFIG,$(GIVEN)),,$(error choose needs POOL=…, a folder or a list of images that need no labels)))

ON_FEATURES = train-head sweep probe learning-curve cv audit similar choose

# One that is given for nothing is a mistake, too.
READ    := $(if $(filter-out predict export,$(MAKECMDGOALS)),DATA CONFIG) PIP_ARGS
UNUSED  := $(if $(filter-out demo help,$(MAKECMDGOALS)),$(filter-out $(USED) $(READ),$(filter %_ARGS VIEWS SEEDS FOLDS REPEATS POOL N RUN IMAGES BACKBONE FORMAT NPROC PARTS RAY FORCE DATA CONFIG,$(GIVEN))))
ALONE    = $(if $(filter EXTRACT_ARGS VIEWS,$(UNUSED)),$(if $(filter $(ON_FEATURES),$(MAKECMDGOALS)), CACHE= alone is used as it is: nothing is extracted.))
$(if $(filter 0,$(MAKELEVEL)),$(if $(UNUSED),$(error make $(MAKECMDGOALS) does not use $(UNUSED).$(ALONE) It takes $(or $(USED),no flags))))

PY       := .venv/bin/python
SOURCE    = $(if $(CONFIG),--config="$$CONFIG") $(if $(DATA),--data="$$DATA")
CACHED    = $(SOURCE) $(if $(BACKBONE),--backbone="$$BACKBONE") $(if $(CACHE),--cache="$$CACHE")
# Where the flags of a program ask for its help, nothing else is done: no data set is written, extracted or learned from.
ASK_HELP := $(strip $(foreach name,$(filter-out PIP_ARGS,$(filter %_ARGS,$(VARIABLES))),$(if $(filter -h --help,$($(name))),$(name))))
OF_PASS   = $(filter EXTRACT_ARGS,$(ASK_HELP))
# What is looked for is asked before the pass.
$(if $(filter similar,$(MAKECMDGOALS)),$(if $(IMAGES)$(ASK_HELP),,$(error make similar needs IMAGES=: a picture, a folder, a pattern in quotes, a list of paths or archives)))
RUNS      = $(if $(SEEDS),--seeds="$$SEEDS")
CUT       = $(if $(PARTS),--parts="$$PARTS") $(if $(NPROC),--processes="$$NPROC") $(if $(RAY),--ray="$$RAY")
FOLDED    = $(if $(FOLDS),--folds="$$FOLDS") $(if $(REPEATS),--repeats="$$REPEATS")
# A cache that is named alone is used as it is.
FEATURES  = $(if $(and $(DATA)$(CONFIG),$(if $(ASK_HELP),$(OF_PASS),yes)),extract,.venv/ready)
LEARN     = $(if $(OF_PASS),:,$(if $(and $(NPROC),$(filter train-head sweep,$@)),$(TORCHRUN),$(PY)))
# What follows a pass describes the cache.
FOLLOWED  = $(if $(filter extract,$(MAKECMDGOALS)),,HEADSTART_FOLLOWED=1)

train-head     = pipelines/train_head.py $(CACHED) $(RUNS) $(HEAD_ARGS)
sweep          = pipelines/sweep.py $(CACHED) $(RUNS) $(SWEEP_ARGS)
probe          = pipelines/probe.py $(CACHED) $(PROBE_ARGS)
learning-curve = pipelines/learning_curve.py $(CACHED) $(RUNS) $(CURVE_ARGS)
cv             = pipelines/cv.py $(CACHED) $(FOLDED) $(CV_ARGS)
audit          = pipelines/audit.py $(CACHED) $(AUDIT_ARGS)
similar        = pipelines/similar.py $(CACHED) $(if $(IMAGES),--images="$$IMAGES") $(SIMILAR_ARGS)
choose         = pipelines/choose.py $(CACHED) $(if $(POOL),--pool="$$POOL") $(if $(N),--n="$$N") $(CHOOSE_ARGS)

# So many processes share the cores, or take a GPU each. A terminal that is closed does not end them.
TORCHRUN = trap '' HUP; TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGQUIT OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN) + $(NPROC) - 1) / $(NPROC) )) .venv/bin/torchrun --standalone --nproc-per-node $(NPROC) --

# What learns from features has its settings read before the pass, so that a mistake in them is answered at once.
READ_FIRST = $(if $(ASK_HELP),,$(if $(CONFIG)$(SEEDS)$(FOLDS)$(REPEATS)$(HEAD_ARGS)$(SWEEP_ARGS)$(PROBE_ARGS)$(CURVE_ARGS)$(CV_ARGS)$(AUDIT_ARGS)$(SIMILAR_ARGS)$(filter choose,$(MAKECMDGOALS)),$(addprefix settings-of-,$(filter $(ON_FEATURES),$(MAKECMDGOALS)))))

.PHONY: $(TARGETS) $(READ_FIRST)

# The table of README.md: name, D, cost of an image, accuracy on ImageNet.
TEN_BACKBONES = awk -F' *[|] *' '/^[|] `[a-z0-9_]+`.*[0-9] [|]$$/ && NF == 6 { gsub("`", "", $$2); printf "  %-20s D %4s  %6s GFLOPs  top-1 %s%%\n", $$2, $$3, $$4, $$5 }' README.md

# A reader that has enough, such as head, is no error.
help:  ## list the targets
	@( sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "make %-15s %s\n", $$1, $$2}'; echo; \
	echo 'DATA=folder|list.csv|shards/{000..099}.tar|train.parquet|s3://…  CONFIG=digits|cifar10|file.toml  BACKBONE=efficientnet_b0|timm:…|module:function  CACHE=file.h5 (alone: used as it is)  RUN=data/runs/…/…  IMAGES=new/  FORMAT=pt2|onnx  NPROC=4  PARTS=16  RAY=auto  VIEWS=8  SEEDS=3  FOLDS=5  REPEATS=10  POOL=unlabelled/  N=100  PYTHON=python3.12  PIP_ARGS=…'; \
	echo 'BACKBONE: one of these (GFLOPs for an image, top-1 on ImageNet, as torchvision publishes them) or another; several in quotes. More: pipelines/README.md, "Another backbone"'; $(TEN_BACKBONES); echo; \
	echo 'Flags: CHECK_ARGS, EXTRACT_ARGS, HEAD_ARGS, SWEEP_ARGS, PROBE_ARGS, CURVE_ARGS, CV_ARGS, AUDIT_ARGS, SIMILAR_ARGS, CHOOSE_ARGS, FINETUNE_ARGS, COMPARE_ARGS, PREDICT_ARGS, EXPORT_ARGS, INFO_ARGS, VERIFY_ARGS, BENCHMARK_ARGS, GPU_ARGS, STRESS_ARGS, FUZZ_ARGS; such as HEAD_ARGS="--lr 1e-4 --hidden 512"' ) 2>/dev/null || true

setup: .venv/ready  ## make .venv with everything; every other target does it first when needed

# torch and torchvision must be a pair from one index, so one command installs both, and the import is checked. Python
# compiles 15,000 files on all cores, pip on one, with the tests of packages; some are for other versions of Python.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install $(PIP_ARGS) --no-compile --quiet -e '.[dev]'
	@$(PY) -m compileall -qq -j 0 -x '/tests?/' .venv/lib || true
	$(PY) -c 'import torch, torchvision; print("torch", torch.__version__, "torchvision", torchvision.__version__)'
	@touch $@

$(READ_FIRST): settings-of-%: .venv/ready
	@HEADSTART_ONLY_READ_SETTINGS=1 $(PY) $($*)

data: .venv/ready $(READ_FIRST)  ## write the data set of a CONFIG as a folder of PNG files, once
	$(if $(ASK_HELP),,$(if $(CONFIG),@$(PY) pipelines/prepare_data.py $(SOURCE)))

data-check: .venv/ready  ## what a data set is taken for, and a picture of some images of each class
	@$(PY) pipelines/data_check.py $(SOURCE) $(CHECK_ARGS)

extract: data  ## images -> features in one HDF5 file: one pass, resumed and brought up to date
	@$(FOLLOWED) $(PY) pipelines/extract.py $(CACHED) $(CUT) $(if $(VIEWS),--views="$$VIEWS") $(EXTRACT_ARGS)

train-head: $(FEATURES)  ## features -> a head, in seconds
	@$(LEARN) $(train-head)

sweep: $(FEATURES)  ## features -> heads for many settings at once, the best by validation kept
	@$(LEARN) $(sweep)

probe: $(FEATURES)  ## features -> logistic regression, ridge and nearest neighbours, as papers measure features
	@$(LEARN) $(probe)

learning-curve: $(FEATURES)  ## features -> accuracy against the number of training images
	@$(LEARN) $(learning-curve)

cv: $(FEATURES)  ## features -> heads and probes by repeated cross-validation, for few test images
	@$(LEARN) $(cv)

audit: $(FEATURES)  ## features -> what is wrong with the data: labels, copies, outliers; AUDIT_ARGS="--fix clean.csv"
	@$(LEARN) $(audit)

similar: $(FEATURES)  ## features and IMAGES=… -> the images of the data set that are most like each, exact
	@$(LEARN) $(similar)

choose: $(FEATURES)  ## features and POOL=unlabelled/ -> which N=100 images to label next, as a CSV and a page
	@$(LEARN) $(choose)

finetune: data  ## images -> a whole net trained end to end, for comparison
	@$(if $(NPROC),$(TORCHRUN),$(PY)) pipelines/finetune.py $(SOURCE) $(if $(BACKBONE),--backbone="$$BACKBONE") $(RUNS) $(FINETUNE_ARGS)

info: .venv/ready  ## what a cache holds and how healthy it is
	@$(PY) pipelines/inspect_cache.py $(CACHED) $(INFO_ARGS)

verify: .venv/ready  ## whether a cache is still what was written; VERIFY_ARGS="--sample 100" extracts rows again
	@$(PY) pipelines/inspect_cache.py $(CACHED) --verify $(VERIFY_ARGS)

compare: .venv/ready  ## what all runs of a data set are worth and took, and whether fine-tuning pays
	@$(PY) pipelines/compare.py $(CACHED) $(COMPARE_ARGS)

predict: .venv/ready  ## a run and IMAGES=… (or CACHE=…) -> a CSV with the class of each image
	@$(PY) pipelines/predict.py $(if $(RUN),--run="$$RUN") $(if $(IMAGES),--images="$$IMAGES") $(if $(CACHE),--cache="$$CACHE") $(if $(RAY),--ray="$$RAY") $(PREDICT_ARGS)

export: .venv/ready  ## a run -> one file for other programs, FORMAT=pt2 or onnx, checked, with a card
	@$(PY) pipelines/export.py $(if $(RUN),--run="$$RUN") $(if $(FORMAT),--format="$$FORMAT") $(if $(IMAGES),--images="$$IMAGES") $(EXPORT_ARGS)

demo:  ## all of it on the digits inside scikit-learn, offline
	@HEADSTART_DEMO=1 $(MAKE) --no-print-directory train-head CONFIG=digits DATA= CACHE=
	@HEADSTART_DEMO=1 $(MAKE) --no-print-directory finetune CONFIG=digits DATA=
	@HEADSTART_DEMO=1 $(MAKE) --no-print-directory compare CONFIG=digits DATA= CACHE=
	@( echo 'Pictures of each run: data/runs/digits/*/curves.png and confusion.png' ) 2>/dev/null || true

benchmark: .venv/ready  ## pass, cache, heads and fine-tuning against what people write by hand
	@$(PY) pipelines/benchmark.py $(if $(DATA),--data="$$DATA") $(if $(BACKBONE),--backbone="$$BACKBONE") $(BENCHMARK_ARGS)

# With PYTHON= that Python is used as it is: where a GPU is lent for minutes, it has torch, and an environment takes long.
gpu: $(if $(filter PYTHON,$(GIVEN)),,.venv/ready)  ## tests and figures of one GPU in 10 minutes; PYTHON=python3 needs no .venv
	@PYTHONPATH="src$${PYTHONPATH:+:$$PYTHONPATH}" $(if $(filter PYTHON,$(GIVEN)),$(PYTHON),$(PY)) pipelines/gpu.py $(GPU_ARGS)

# One thread: programs start as copies of a process that has loaded torch, and a copy has none of its threads.
FOR_DEVELOPERS = PYTHONPATH=src:tests OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m

stress: .venv/ready  ## kills and races of every program that writes, half an hour; STRESS_ARGS="--kills 2 --races 2"
	@$(FOR_DEVELOPERS) stress $(STRESS_ARGS)

fuzz: .venv/ready  ## damaged pictures, archives, caches and texts, two minutes; FUZZ_ARGS="--inputs 10000"
	@$(FOR_DEVELOPERS) fuzz $(FUZZ_ARGS)

# On several cores; the tests of a file stay together, since they share nets and caches. Each process takes some GB.
TESTS = $(PY) -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: .venv/ready  ## the tests, but for the slow ones: 5 to 10 minutes
	@$(TESTS) -m "not slow"

lint: .venv/ready  ## style
	@$(PY) -m ruff check src pipelines tests
	@$(PY) -m ruff format --check src pipelines tests

types: .venv/ready  ## static types
	@$(PY) -m mypy

# Types are checked while tests run: one process of tests or the other often waits.
check: lint  ## what must pass before a change lands: style, types and all tests
	@$(PY) -m mypy & types=$$!; $(TESTS); tests=$$?; wait $$types && exit $$tests

clean:  ## remove indexes, temporary files and what checks leave; caches, runs and downloads stay
	@rm -rf data/indexes data/digits.new data/cifar10.new build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@$(if $(STORES),find $(STORES) -type f \( -name '.*.tmp' -o -name '*.h5.new' \) -mmin +60 -delete)

# Temporary files of the last hour may be in use.
STORES = $(wildcard data/features data/runs)
MADE   = $(wildcard data/features data/runs data/indexes data/checks data/digits data/cifar10 data/benchmark.json data/gpu)

clean-cache:  ## remove the compiled nets that are kept for later passes
	@rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/headstart/compiled"

clean-all:  ## remove all that the programs made, caches and runs too, after a question; FORCE=1 asks nothing
	@[ -z "$(MADE)" ] || { echo 'This removes for good all features, trained runs and prepared data sets:'; du -sh $(MADE); }
	@[ -z "$(MADE)" ] || [ "$$FORCE" = 1 ] || [ -t 0 ] || { echo 'Nothing was removed: give FORCE=1 to do it without a question.'; exit 1; }
	@[ -z "$(MADE)" ] || [ "$$FORCE" = 1 ] || { printf 'Go on? [y/N] '; read -r answer; [ "$$answer" = y ]; } || { echo 'Nothing was removed.'; exit 1; }
	@rm -rf $(MADE)
	@$(MAKE) --no-print-directory clean
