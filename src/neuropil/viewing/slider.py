"""A slider in the page of a Neuroglancer viewer that calls Python while it is moved."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

LAYER, CONTROL = "merge tree", "threshold"


class Slider:
    """A slider for the threshold of a merge tree, in a panel of its own; its value is part of the viewer's state.

    Neuroglancer draws it as a control of a layer without data, so it needs no page and no address of our own. While a
    value is followed, later ones wait, and only the last of them is followed next.

    Args:
        viewer: Neuroglancer's.
        value: where the slider stands at first, 0 to 1.
        moved: called with each value that is followed, in a thread of its own; it must not change the viewer's shared
            state, since that makes Neuroglancer build its panels anew and so ends the user's drag.
    """

    def __init__(self, viewer: Any, value: float, moved: Callable[[float], object]) -> None:
        self._viewer, self._first, self._followed = viewer, value, value
        self._moved, self._changed = moved, Event()
        with viewer.txn() as state:
            self.put(state, value)
        viewer.shared_state.add_changed_callback(self._changed.set)
        Thread(target=self._follow, name="slider", daemon=True).start()

    @property
    def value(self) -> float:
        """Where the slider stands, 0 to 1; the value that was followed last where the page has none."""
        layers = {layer["name"]: layer for layer in self._viewer.state.to_json().get("layers", [])}
        # Neuroglancer leaves out values that are the default.
        value = layers.get(LAYER, {}).get("shaderControls", {}).get(CONTROL, self._first)
        known = LAYER in layers and isinstance(value, int | float)
        return min(max(float(value), 0.0), 1.0) if known else self._followed

    def put(self, state: Any, value: float) -> None:
        """Move the slider to a value in a transaction of the viewer's state; what the user removed is there again."""
        import neuroglancer
        from neuroglancer.viewer_state import ToolPalette

        shader = (
            f"#uicontrol float {CONTROL} slider(min=0, max=1, step=0.001, default={self._first:.9f})\nvoid main() {{}}"
        )
        state.layers[LAYER] = neuroglancer.AnnotationLayer(shader=shader, shader_controls={CONTROL: value})
        tool = {"type": "shaderControl", "layer": LAYER, "control": CONTROL}
        state.tool_palettes["Threshold"] = ToolPalette({"side": "left", "size": 250, "visible": True, "tools": [tool]})

    def _follow(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            if (value := self.value) != self._followed:
                self._followed = value
                self._moved(value)
