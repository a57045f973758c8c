"""Start Neuroglancer on local files; by default only this machine can connect."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from ipaddress import ip_address
from types import ModuleType
from typing import TYPE_CHECKING, Any

from neuropil.errors import NeuropilError
from neuropil.evaluation.objects import ObjectError, worst_errors
from neuropil.extras import import_extra
from neuropil.geometry import Triple
from neuropil.proofreading.meshes import absent, needs_zmesh, surface
from neuropil.viewing.layers import Layer, LayerVoxels, grey_range
from neuropil.volumes.counting import looks_like_image

if TYPE_CHECKING:
    import neuroglancer

LOOPBACK = "127.0.0.1"

_GREY = "#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }"
_RGB = """void main() {
  emitRGB(vec3(toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2))));
}"""


def mistakes_in(layers: Sequence[Layer], count: int = 10) -> list[ObjectError]:
    """The worst splits and merges of the first segmentation against the truth, worst first.

    Empty without a truth, or if either looks like an image: comparing a million ids of one voxel would take long.

    Raises:
        NeuropilError: the two cannot be compared, see ``neuropil.evaluate``.
    """
    truth = next((layer.volume for layer in layers if layer.is_truth), None)
    found = next((layer.volume for layer in layers if layer.kind == "segmentation" and not layer.is_truth), None)
    if truth is None or found is None or looks_like_image(truth) or looks_like_image(found):
        return []
    worst = worst_errors(found, truth, count=count)
    return sorted([*worst.splits, *worst.merges], key=lambda error: -error.bits)


def open_viewer(
    layers: Sequence[Layer],
    *,
    at: Triple | None = None,
    mistakes: Sequence[ObjectError] = (),
    segments: Sequence[int] = (),
    host: str = LOOPBACK,
    port: int = 0,
) -> neuroglancer.Viewer:
    """Start Neuroglancer with these layers. It is served until the process ends or ``close_viewer`` is called.

    At first the image and one segmentation are visible; number keys switch layers on and off.

    Args:
        layers: see ``layers_of``.
        at: the voxel of the image to open at, z y x; by default the worst error, or else the middle of the volume.
        mistakes: errors to mark.
        segments: ids of the first segmentation to select; they are drawn in 3-D, too, which needs zmesh.
        host, port: where to listen; by default on this machine only, on any free port.

    Returns:
        The viewer; its ``get_viewer_url()`` is the link.

    Raises:
        NeuropilError: neuroglancer, or zmesh for ``segments``, is not installed; ``at`` lies outside all layers, no
            voxel has one of ``segments``, or the port is taken.
    """
    place = _place(layers, at, mistakes)
    if segments:
        _check_segments(_main_segmentation(layers), segments)
    glancer = _neuroglancer()
    glancer.set_server_bind_address(host, port)
    try:
        viewer = _resending()()
    except OSError as error:
        raise NeuropilError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from None
    _refuse_other_hosts(host)
    first, main = layers[0], _main_segmentation(layers)
    with viewer.txn() as state:
        # With x, y, z in this order the first panel shows sections; with z, y, x they would appear edge-on.
        state.dimensions = _space(glancer, first)
        for layer in layers:
            chosen = segments if layer is main else ()
            state.layers[layer.name] = _shown(glancer, layer, chosen)
            state.layers[layer.name].visible = layer is main or layer.kind == "image" or main is None
        if mistakes:
            state.layers["worst mistakes"] = _marks(glancer, first, mistakes)
            state.selected_layer.layer, state.selected_layer.visible = "worst mistakes", True  # its list, at the side
        state.position = [place[2] + 0.5, place[1] + 0.5, place[0] + 0.5]
        state.cross_section_scale = 1.0 if at or mistakes else max(0.25, max(first.volume.box.shape[1:]) / 500)
        state.projection_scale = float(max(first.volume.box.shape[1:])) * 2.5
        state.layout = "xy-3d" if segments else "4panel"
    return viewer


def serve(viewer: neuroglancer.Viewer, host: str, say: Callable[[str], object]) -> None:
    """Print how to open the viewer, and serve it until Ctrl-C."""
    url = viewer.get_viewer_url()
    port = int(url.split("/")[2].rpartition(":")[2])
    try:  # Ctrl-C may come while the lines are printed
        for line in how_to_reach(url, host, port):
            say(line)
        sys.stdout.flush()
        # Sleep briefly: Python handles a signal in this thread only when it wakes.
        while True:
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopped")


def close_viewer() -> None:
    """Stop serving; links no longer work."""
    _neuroglancer().stop()


def is_own_host(name: str, host: str) -> bool:
    """Whether the host name of a request is a name of this server.

    Another site can make its own name resolve to this machine (DNS rebinding) and its page could then read the data.
    Requests to an IP address are safe from that.

    Args:
        name: the host of a request, without its port.
        host: where the server listens.

    >>> is_own_host("127.0.0.1", LOOPBACK), is_own_host("localhost", LOOPBACK), is_own_host("evil.example", LOOPBACK)
    (True, True, False)
    """
    name = name.strip("[]").lower()
    try:
        ip_address(name)
    except ValueError:
        own = {"localhost", host.lower()}
        if host not in (LOOPBACK, "::1"):
            own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        return name in own
    return True


def _refuse_other_hosts(host: str) -> None:
    """Make the server answer requests to another host name with 403; see :func:`is_own_host`."""
    from neuroglancer import server
    from tornado.routing import Matcher, Rule
    from tornado.web import ErrorHandler

    class OtherHost(Matcher):
        def match(self, request: Any) -> dict[str, Any] | None:
            return None if is_own_host(request.host_name, host) else {}

    rules = server.global_server.app.default_router.rules
    if not any(type(rule.matcher).__name__ == OtherHost.__name__ for rule in rules):  # one server for all viewers
        rules.insert(0, Rule(OtherHost(), ErrorHandler, {"status_code": 403}))


def how_to_reach(url: str, host: str, port: int) -> list[str]:
    """Lines that explain how to open the link on this machine and through an SSH tunnel.

    >>> how_to_reach("http://127.0.0.1:7000/v/abc/", "127.0.0.1", 7000)[0]
    'open  http://127.0.0.1:7000/v/abc/'
    """
    lines = [f"open  {url}"]
    if host in (LOOPBACK, "localhost", "::1"):
        name = socket.gethostname()
        lines.append(
            f"from another machine, first:  ssh -N -L {port}:{host}:{port} {name}   and open the same link there"
        )
    else:
        lines.append(f"anyone who can reach {host} and knows the link can see the data")
    return [*lines, "number keys switch layers on and off; Ctrl-C here stops"]


def _place(layers: Sequence[Layer], at: Triple | None, mistakes: Sequence[ObjectError]) -> Triple:
    box = layers[0].volume.box
    if at is not None:
        boxes = [layer.volume.box for layer in layers]
        if not any(all(a <= n < b for a, n, b in zip(one.start, at, one.stop, strict=True)) for one in boxes):
            raise NeuropilError(f"--at {','.join(map(str, at))} lies outside {', '.join(map(str, boxes))}")
        return at
    if mistakes:
        return mistakes[0].position
    z, y, x = ((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    return (z, y, x)


def _check_segments(layer: Layer | None, segments: Sequence[int]) -> None:
    """Refuse segments that no voxel has, or that could not be drawn."""
    chosen = ",".join(map(str, segments))
    if layer is None:
        raise NeuropilError(f"--select {chosen}: expected a segmentation to take segments from, got none; name one")
    if min(segments) < 1:
        raise NeuropilError(f"--select {chosen}: expected ids from 1, got {min(segments)}; 0 is background")
    needs_zmesh()
    if missing := absent(layer.volume, segments):
        raise NeuropilError(
            f"--select {chosen}: expected ids of {layer.volume.path}, where no voxel has {', '.join(map(str, missing))}"
        )


def _main_segmentation(layers: Sequence[Layer]) -> Layer | None:
    ids = [layer for layer in layers if layer.kind == "segmentation"]
    return next((layer for layer in ids if not layer.is_truth), ids[0] if ids else None)


def _space(glancer: ModuleType, layer: Layer, channels: bool = False) -> Any:
    """The coordinate space x, y, z in nm, with ``channels`` also that of RGB."""
    names, units, scales = ["x", "y", "z"], ["nm"] * 3, list(layer.voxel_size[::-1])
    if channels:
        names, units, scales = [*names, "c^"], [*units, ""], [*scales, 1.0]
    return glancer.CoordinateSpace(names=names, units=units, scales=scales)


def _shown(glancer: ModuleType, layer: Layer, segments: Sequence[int]) -> Any:
    start = list(layer.volume.metadata.start[::-1])
    if layer.kind == "segmentation":
        source = segmentation_source(layer)
        chosen = {"segments": list(segments), "not_selected_alpha": 0.15} if segments else {}
        return glancer.SegmentationLayer(source=source, selected_alpha=0.45, **chosen)
    colours = layer.kind == "affinities"
    space, offset = _space(glancer, layer, colours), [*start, 0] if colours else start
    source = glancer.LocalVolume(LayerVoxels(layer), space, voxel_offset=offset, volume_type="image")
    if colours:
        return glancer.ImageLayer(source=source, shader=_RGB, opacity=0.5)
    controls = {"normalized": {"range": list(grey_range(layer))}}
    return glancer.ImageLayer(source=source, shader=_GREY, shader_controls=controls, opacity=1.0)


def segmentation_source(layer: Layer) -> Any:
    """Neuroglancer source of a segmentation layer; with zmesh installed, selected segments have meshes."""
    start, space = list(layer.volume.metadata.start[::-1]), _space(_neuroglancer(), layer)
    source = _meshed()(LayerVoxels(layer), space, voxel_offset=start, volume_type="segmentation")
    source.meshes = surfaces(layer, source.dimensions.scales)
    return source


def _marks(glancer: ModuleType, layer: Layer, mistakes: Sequence[ObjectError]) -> Any:
    """An annotation layer with a point and description for each error."""
    points = [
        glancer.PointAnnotation(
            id=f"{error.kind} {error.id}",
            point=[n + 0.5 for n in error.position[::-1]],
            description=f"{'neuron' if error.kind == 'split' else 'segment'} {error.id}, {error.kind}: "
            f"{error.bits:.4f} bits",
        )
        for error in mistakes
    ]
    return glancer.LocalAnnotationLayer(_space(glancer, layer), annotations=points)


def surfaces(layer: Layer, scales: Any) -> Callable[[int], bytes | None]:
    """Meshes of a layer's segments, each made once, when it is selected."""

    @cache
    def encoded(number: int) -> bytes | None:
        found = surface(layer.volume, number)
        return None if found is None else found.encode(scales)

    return encoded


@cache
def _resending() -> Any:
    """A Viewer that sends its state once more to a page whose change came too late.

    Neuroglancer's page then waits for the newer state. If it came while an earlier change was being answered, the page
    has taken the older generation for the newest, and all its changes would be refused until the state changes here.
    """
    from neuroglancer import Viewer
    from neuroglancer.random_token import make_random_token
    from neuroglancer.trackable_state import ConcurrentModificationError

    class Resending(Viewer):  # type: ignore[misc]
        def set_state(
            self, new_state: Any, generation: str | None = None, existing_generation: str | None = None
        ) -> Any:
            try:
                return super().set_state(new_state, generation, existing_generation)
            except ConcurrentModificationError:
                self.shared_state.set_state(self.shared_state.raw_state, generation=make_random_token())
                raise

    return Resending


@cache
def _meshed() -> Any:
    """A LocalVolume with meshes by :func:`surfaces`, since its own need the whole volume in memory."""
    from neuroglancer.local_volume import InvalidObjectIdForMesh, LocalVolume, MeshImplementationNotAvailable

    class Meshed(LocalVolume):  # type: ignore[misc]
        meshes: Callable[[int], bytes | None]

        def get_object_mesh(self, object_id: int) -> bytes:
            try:
                mesh = self.meshes(object_id)
            except NeuropilError:
                raise MeshImplementationNotAvailable from None
            if mesh is None:
                raise InvalidObjectIdForMesh
            return mesh

    return Meshed


def _neuroglancer() -> ModuleType:
    return import_extra("neuroglancer", "viewers", "view")
