"""Who answers: shares, sticky keys, epochs, and swaps under load."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
from kedge_testing import bundles, models
from kedge_testing.serving import Caller, eventually, only, outputs, request

from kedge.errors import PlaneError
from kedge.plane import cells
from kedge.plane.contract import Arm, ArmRoute, Handle, Route, RouteTable
from kedge.plane.siphash import siphash24
from kedge.proto import inference as pb

SALT = bytes(range(16))
ZERO = ("x", "FP32", np.zeros((1, 1), np.float32))


def plus(version: int) -> bundles.Recipe:
    return bundles.Recipe(models.plus(version), "plus", version=str(version))


def split(old: Handle, new: Handle, share: float, epoch: int = 1, sticky_for: int = 10**9) -> Route:
    arms = (ArmRoute(new, Arm.CANARY, share), ArmRoute(old, Arm.CONTROL, 1.0 - share))
    return Route("plus", epoch, arms, salt=SALT, sticky_for=sticky_for)


def arm_of(caller: Caller, key: str | None = None, header: str | None = None) -> tuple[str, str]:
    message = request("plus", ZERO)
    if key is not None:
        message.parameters["kedge_key"].string_param = key
    metadata = (("x-kedge-key", header),) if header is not None else None
    answer = caller.infer(message, metadata=metadata)
    assert outputs(answer)["y"].item() == float(answer.model_version)
    return answer.parameters["kedge_arm"].string_param, answer.model_version


def test_a_share_without_keys_is_an_independent_draw(listen) -> None:
    served = listen()
    old, new = served.load(plus(1)), served.load(plus(2))
    served.publish(split(old, new, 0.25))
    caller = Caller(served.address)
    arms: Counter[str] = Counter()
    for _ in range(10):
        for call in [caller.future(request("plus", ZERO)) for _ in range(200)]:
            answer = pb.ModelInferResponse.FromString(call.result())
            arms[answer.parameters["kedge_arm"].string_param] += 1
    assert set(arms) == {"canary", "control"}
    assert 400 < arms["canary"] < 600  # 500 expected; five standard deviations are 97


def test_a_key_decides_the_arm_as_documented(listen) -> None:
    served = listen()
    old, new = served.load(plus(1)), served.load(plus(2))
    served.publish(split(old, new, 0.5))
    caller = Caller(served.address)
    for number in range(40):
        key = f"user-{number}"
        period = int(time.time()) // 10**9
        place = siphash24(SALT, period.to_bytes(8, "little") + key.encode())
        want = "canary" if place < int(0.5 * 2.0**64) else "control"
        assert {arm_of(caller, key=key)[0], arm_of(caller, header=key)[0], arm_of(caller, key=key)[0]} == {want}


def test_a_growing_share_only_moves_keys_into_the_canary(listen) -> None:
    served = listen()
    old, new = served.load(plus(1)), served.load(plus(2))
    caller = Caller(served.address)
    keys = [f"user-{number}" for number in range(60)]
    before: set[str] = set()
    for epoch, share in enumerate((0.1, 0.3, 0.8, 1.0), start=1):
        served.publish(split(old, new, share, epoch=epoch))
        canary = {key for key in keys if arm_of(caller, key=key)[0] == "canary"}
        assert before <= canary
        before = canary
    assert before == set(keys)


def test_counts_are_kept_by_arm_and_epoch(listen) -> None:
    served = listen()
    one, two = served.load(plus(1)), served.load(plus(2))
    caller = Caller(served.address)
    served.publish(only(one))
    arm_of(caller)
    served.publish(split(one, two, 1.0, epoch=2))
    arm_of(caller)
    caller.infer(request("plus", ZERO, version="1"))
    keys = set(cells.decode(served.plane.snapshot()))
    wanted = {(one.bundle, Arm.LIVE, 1), (two.bundle, Arm.CANARY, 2), (one.bundle, Arm.PINNED, 2)}
    eventually(lambda: set(cells.decode(served.plane.snapshot())) == wanted)
    assert keys <= wanted


def test_a_table_is_refused_whole(listen) -> None:
    served = listen()
    one, two = served.load(plus(1)), served.load(plus(2))
    served.publish(only(one, epoch=5))
    gone = served.load(plus(3))
    served.plane.retire(gone, 1.0)
    half = ArmRoute(two, Arm.CANARY, 0.5)
    refused = {
        "epoch 4 is under 5": only(one, epoch=4),
        "epoch 5 is in force with different content": only(two, epoch=5),
        "shares must sum to 1": Route("plus", 6, (half,)),
        "is not loaded": only(gone, epoch=6),
        "epochs count from 1": only(two, epoch=0),
        "no arms": Route("plus", 6, ()),
        "of model 'plus'": Route("other", 1, (ArmRoute(two, Arm.LIVE, 1.0),)),
        "salt": Route("plus", 6, (ArmRoute(two, Arm.LIVE, 1.0),), salt=b"short"),
        "sticky_for": Route("plus", 6, (ArmRoute(two, Arm.LIVE, 1.0),), sticky_for=0),
        "[0, 1]": Route("plus", 6, (ArmRoute(two, Arm.CANARY, -0.5), ArmRoute(one, Arm.LIVE, 1.5))),
    }
    for words, route in refused.items():
        with pytest.raises(PlaneError) as caught:
            served.plane.publish(RouteTable((route,)))
        assert words in str(caught.value)
    with pytest.raises(PlaneError, match="twice"):
        served.plane.publish(RouteTable((only(one, epoch=5), only(one, epoch=5))))
    assert arm_of(Caller(served.address)) == ("live", "1")
    served.publish(only(one, epoch=5))  # the same again is no change


def test_swaps_under_load_fail_nothing_and_mix_nothing(listen) -> None:
    served = listen()
    handles = [served.load(plus(1)), served.load(plus(2))]
    served.publish(only(handles[0]))
    done = threading.Event()
    failures: list[object] = []

    def ask() -> None:
        caller = Caller(served.address)
        while not done.is_set():
            try:
                arm_of(caller)
            except Exception as error:  # noqa: BLE001  whatever it is, it is a failed request
                failures.append(error)
        caller.channel.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for epoch in range(2, 300):
        served.publish(only(handles[epoch % 2], epoch=epoch))
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(cells.decode(served.plane.snapshot())) < 60  # closed epochs are folded


def test_after_a_publish_nothing_new_reaches_the_old_bundle(listen) -> None:
    served = listen()
    handles = [served.load(plus(1)), served.load(plus(2))]
    caller = Caller(served.address)
    for epoch in range(1, 50):
        served.publish(only(handles[epoch % 2], epoch=epoch))
        assert arm_of(caller)[1] == handles[epoch % 2].version


def test_a_retired_bundle_gives_its_place_and_stays_gone(listen) -> None:
    served = listen()
    one, two = served.load(plus(1)), served.load(plus(2))
    served.publish(only(one))
    with pytest.raises(PlaneError, match="still in the route table"):
        served.plane.retire(one, 1.0)
    arm_of(Caller(served.address))
    served.publish(only(two, epoch=2))
    assert served.plane.retire(one, 5.0) >= 0
    assert served.plane.retire(one, 5.0) == 0
    with pytest.raises(PlaneError, match="retired"):
        served.plane.run(one, {"x": np.zeros((1, 1), np.float32)})
    counted = {bundle for bundle, _, _ in cells.decode(served.plane.snapshot())}
    assert one.bundle in counted
