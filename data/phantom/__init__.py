"""The embedded default data set: colons that are drawn at random and rendered with exact depth, flow and poses.

``render_phantom`` (or ``python -m data.phantom --out DIR``) writes synthetic image-depth pairs and video clips that
look like colonoscopy, in the layout that training reads. The way of a frame through the modules:

    plan        which colons, views and clips; their random seeds
    centreline  curve, frame and radius      folds, polyps, surface  the wall as a mesh      colon  all of it together
    trajectory  camera poses                 camera  pinhole model    raycast  hits, visibility
    texture, vessels, appearance             what the mucosa looks like
    shading, view                            radiance and depth       truth  flow and occlusion
    sensor      picture                      writer  files            scenes, render  from plan to disk
"""

from pathlib import Path


def render_phantom(
    out: Path, frames: int, size: int, seed: int, fov_deg: float = 110.0, workers: int | None = None
) -> None:
    """Render the phantom data set into the new folder ``out``; see ``render.render_phantom``."""
    from data.phantom import render  # Embree and trimesh are needed for rendering only, not for reading data

    render.render_phantom(out, frames, size, seed, fov_deg, workers)
