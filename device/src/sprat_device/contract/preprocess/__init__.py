"""Declared pre-processing: from what a sensor gives to what the model takes, the same code on workstation and device.

The manifest's `preprocess` names steps for each input, in order. A step that this side does not know, or a parameter of
one, refuses the bundle: left out, the model would be fed something else. Every step is a pure function of one reading.
"""

from sprat_device.contract.preprocess.plan import Plan as Plan
from sprat_device.contract.preprocess.plan import Prepare as Prepare
from sprat_device.contract.preprocess.plan import plan_of as plan_of
from sprat_device.contract.preprocess.plan import plans as plans
from sprat_device.contract.preprocess.plan import read as read
from sprat_device.contract.preprocess.steps import STEPS as STEPS
from sprat_device.contract.preprocess.steps import Array as Array
from sprat_device.contract.preprocess.steps import StepFailed as StepFailed
from sprat_device.contract.preprocess.window import WINDOW as WINDOW
from sprat_device.contract.preprocess.window import WindowStep as WindowStep
