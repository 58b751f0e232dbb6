"""The files next to the config: version folders, model files, code."""

from tests.toolkit.verifier.corpus.dsl import CODE, Case, Verdict, case, edit, python, without

_ONE = python()
_CODE = "@/1/model.py"
_REFUSED = Verdict.REFUSED


def _moved(target: str) -> dict[str, str]:
    return {**without(_ONE, _CODE), target: CODE}


CASES: list[Case] = [
    case("version_none", without(_ONE, _CODE), _REFUSED, "no-version"),
    case("version_word", _moved("@/v1/model.py"), _REFUSED, "no-version"),
    case("version_latest", _moved("@/latest/model.py"), _REFUSED, "no-version"),
    case("version_zero", _moved("@/0/model.py")),
    case("version_padded", _moved("@/01/model.py"), _REFUSED, "no-version"),
    case("version_two", {**_ONE, "@/2/model.py": CODE}, request="x:FP32:3"),
    case("version_ten", {**_moved("@/10/model.py"), "@/9/model.py": "raise ValueError\n"}),
    case("version_extra", {**_ONE, "@/notes/readme.txt": "x"}),
    case("code_at_top", _moved("@/model.py"), _REFUSED, "no-version"),
    case("code_missing", {**without(_ONE, _CODE), "@/1/": ""}, Verdict.HANGS, "missing-file"),
    case("code_misnamed", _moved("@/1/Model.py"), Verdict.HANGS, "missing-file"),
    case(
        "code_other_name",
        {
            **edit(
                _moved("@/1/run.py"),
                'backend: "python"\n',
                'backend: "python"\ndefault_model_filename: "run.py"\n',
            )
        },
    ),
    case("file_in_version_place", {**_ONE, "@/2": "not a folder"}),
]
