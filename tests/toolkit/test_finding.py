from toolkit.finding import Finding, Place, Severity


def test_a_finding_reads_as_place_field_and_text() -> None:
    place = Place("models.yaml", 3, field="models.m.kind")
    finding = Finding(Severity.ERROR, place, "is missing", "add `kind: …`")
    assert str(finding) == "models.yaml:3: models.m.kind: is missing"


def test_a_finding_without_a_place_is_its_text() -> None:
    assert str(Finding(Severity.OK, Place(), "8 GiB free", code="memory")) == "8 GiB free"


def test_a_column_follows_the_line() -> None:
    assert str(Place("m/config.pbtxt", 3, 7)) == "m/config.pbtxt:3:7"
