"""Settings of studies and of their cells: read from one file, checked before any work, hashed into identities."""

from studies.settings.block import MethodBlock
from studies.settings.cell import SCHEMA_VERSION, CellSettings
from studies.settings.levers import LEVERS
from studies.settings.load import StudyError, load_study, preset_names, study_path
from studies.settings.objectives import OBJECTIVES, Objective
from studies.settings.points import POINTS, point_settings
from studies.settings.pool import Pool
from studies.settings.search import Range, Search
from studies.settings.study import Execution, StudySettings
from studies.settings.training import Evaluation, Schedule
from studies.settings.traits import TRAITS, Options, traits_of

__all__ = [
    "LEVERS",
    "OBJECTIVES",
    "POINTS",
    "SCHEMA_VERSION",
    "TRAITS",
    "CellSettings",
    "Evaluation",
    "Execution",
    "MethodBlock",
    "Objective",
    "Options",
    "Pool",
    "Range",
    "Schedule",
    "Search",
    "StudyError",
    "StudySettings",
    "load_study",
    "point_settings",
    "preset_names",
    "study_path",
    "traits_of",
]
