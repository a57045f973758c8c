"""Proofreading in the browser: Neuroglancer shows one question after another, answered by keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.geometry import Triple
from neuropil.proofreading.session import Question, Session
from neuropil.viewing.layers import Layer, layers_of
from neuropil.viewing.slider import Slider
from neuropil.viewing.viewer import LOOPBACK, open_viewer, segmentation_source, surfaces
from neuropil.volumes import Volume
from neuropil.volumes.volume import Index

KEYS = {
    "join": ("keyj", "j", "join"),
    "separate": ("keyx", "x", "separate"),
    "keep": ("keyk", "k", "keep as it is"),
    "unsure": ("keyu", "u", "unsure"),
    "next": ("keyn", "n", "next, undecided"),
    "undo": ("keyz", "z", "undo"),
    "point-a": ("keya", "a", "mark point A under the mouse"),
    "point-b": ("keyd", "d", "mark point B"),
    "join-points": ("shift+keyj", "J", "join A and B"),
    "separate-points": ("shift+keyx", "X", "separate A and B"),
    "lower": ("bracketleft", "[", "threshold down"),
    "higher": ("bracketright", "]", "threshold up"),
}
"""For each action: Neuroglancer's name of the key, the key, and a description."""
STEP = 0.01
"""Change of the threshold by one key press."""


class Relabelled:
    """A read-only view of fragments through a lookup table: their segments, or their sides of the question."""

    def __init__(self, fragments: Volume, lut: Callable[[], NDArray[Any]], dtype: type) -> None:
        self._fragments, self._lut = fragments, lut
        self.shape, self.chunks = fragments.shape, fragments.chunks
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def read(self, index: Index) -> NDArray[Any]:
        """Read voxels and replace fragments by the table's values."""
        return np.asarray(self._lut()[self._fragments.store.read(index)], self.dtype)

    def write(self, index: Index, array: NDArray[Any]) -> None:
        """Always raises NeuropilError."""
        raise NeuropilError("a view of fragments is not written")

    def close(self) -> None:
        """Does nothing; the fragments stay open."""


class Proofreader:
    """Connects a Neuroglancer viewer with a proofreading session.

    Args:
        image: ``[z, y, x]``.
        session: questions and decisions.
        cut: returns the segment of each fragment at a threshold, for the slider and the keys ``[`` and ``]``.
        host, port: where to listen; by default on this machine only, on any free port.
    """

    def __init__(
        self, image: Volume, session: Session, cut: Callable[[float], NDArray[Any]], host: str = LOOPBACK, port: int = 0
    ) -> None:
        self.session, self.cut, self.points = session, cut, dict[str, Triple]()
        self.lock = RLock()
        fragments = session.state.fragments
        nodes = replace(fragments, store=_Nodes(session, fragments))
        size = image.metadata.voxel_size or fragments.metadata.voxel_size
        place = replace(fragments.metadata, voxel_size=size)
        segments = Volume("segmentation", Relabelled(nodes, lambda: session.state.cut.lut, np.uint64), place)
        asked = Volume("question", Relabelled(nodes, session.sides, np.uint8), place)
        self.viewer = open_viewer(layers_of([image], voxel_size=size), host=host, port=port)
        self.layers = {volume.path: Layer(volume.path, "segmentation", volume) for volume in (segments, asked)}
        self.sources = {name: segmentation_source(layer) for name, layer in self.layers.items()}
        self.at: Question | None = None
        with self.viewer.txn() as state:
            state.layers["segmentation"] = self._layer("segmentation", selected_alpha=0.2)
            state.layers["question"] = self._layer(
                "question", segments=[1, 2], selected_alpha=0.45, segment_colors={1: "#2f7ed8", 2: "#f28f43"}
            )
            state.layout = "xy-3d"
        self._bind()
        self.slider = Slider(self.viewer, session.base.cut.threshold, self._moved)
        self.show()

    def show(self, message: str = "") -> None:
        """Go to the current question if it is a new one, colour its two sides, and show its text."""
        question = self.session.question
        for name in self.sources:
            self._refresh(name)
        with self.viewer.txn() as state:
            state.layers["question"].source = self.sources["question"]
            state.layers["question"].segments = [] if question is None else [1, 2]
            if question is not None and question != self.at:
                middle = [(p + q) / 2 + 0.5 for p, q in zip(question.a, question.b, strict=True)]
                state.position = middle[::-1]
        self.at = question
        keys = "  ".join(f"{key} {words}" for _, key, words in KEYS.values())
        self._say(question=self.session.status(), keys=keys, message=message or " ")

    def act(self, name: str, at: Triple | None = None) -> None:
        """Perform the action of a key; an error is shown as a message and changes nothing."""
        with self.lock:
            try:
                message = self._do(name, at)
            except NeuropilError as error:
                message = str(error)
            self.show(message)

    def _do(self, name: str, at: Triple | None) -> str:
        session = self.session
        if name in ("join", "separate", "keep", "unsure"):
            edit = session.answer(name)  # type: ignore[arg-type]
            return "not certain yet: answer once more" if edit is None else f"saved {edit}"
        if name == "next":
            session.skip()
            self.at = None  # a question that stays the same is gone to as well
            return ""
        if name == "undo":
            return f"saved {session.undo()}"
        if name in ("lower", "higher"):
            threshold = self.slider.value + (STEP if name == "higher" else -STEP)
            with self.viewer.txn() as state:
                self.slider.put(state, min(max(round(threshold, 6), 0.0), 1.0))
            return ""
        if name in ("point-a", "point-b"):
            if at is None:
                raise NeuropilError("the mouse is not over a section")
            self.points[name[-1]] = at
            return f"points: {self.points}"
        if len(self.points) < 2:
            raise NeuropilError("mark two points first: a and d, with the mouse over a section")
        kind = "join" if name == "join-points" else "separate"
        return f"saved {session.decide(kind, self.points['a'], self.points['b'])}"  # type: ignore[arg-type]

    def _moved(self, threshold: float) -> None:
        """Cut the tree at the threshold of the slider and show the segments; the view stays where it is."""
        with self.lock:
            try:
                self.session.set_threshold(threshold, self.cut(threshold))
            except NeuropilError as error:
                self._say(message=f"{error}; the segmentation stays at {self.session.base.cut.threshold:g}")
                return
            for name in self.sources:
                self._refresh(name)
            self._say(question=self.session.status(), message=" ")

    def _refresh(self, name: str) -> None:
        """Make the browser read a layer again; its ids have changed."""
        source = self.sources[name]
        source.meshes = surfaces(self.layers[name], source.dimensions.scales)
        source.invalidate()

    def _say(self, **messages: str) -> None:
        with self.viewer.config_state.txn() as config:
            for name, text in messages.items():
                config.status_messages[name] = text

    def _bind(self) -> None:
        for name, (event, _, _) in KEYS.items():
            action = f"proofread-{name}"
            self.viewer.actions.add(action, partial(self._on, name))
            with self.viewer.config_state.txn() as config:
                config.input_event_bindings.viewer[event] = action
                config.input_event_bindings.data_view[event] = action

    def _on(self, name: str, event: Any) -> None:
        place = event.mouse_voxel_coordinates
        at = None if place is None else tuple(int(c) for c in np.floor(np.asarray(place)[:3])[::-1])
        self.act(name, at)  # type: ignore[arg-type]

    def _layer(self, name: str, **options: Any) -> Any:
        import neuroglancer

        return neuroglancer.SegmentationLayer(source=self.sources[name], **options)


class _Nodes:
    """A view of fragments as indices into the merge tree, read piece by piece."""

    def __init__(self, session: Session, fragments: Volume) -> None:
        self._session, self._fragments = session, fragments
        self.shape, self.chunks, self.dtype = fragments.shape, fragments.chunks, fragments.dtype

    def read(self, index: Index) -> NDArray[Any]:
        return self._session.base.cut.tree.nodes(self._fragments.store.read(index))

    def write(self, index: Index, array: NDArray[Any]) -> None:
        raise NeuropilError("a view of fragments is not written")

    def close(self) -> None:
        pass
