"""Launch templates, as far as it matters which images they would launch."""

from typing import Any

from sandbox.ec2 import tags
from sandbox.ec2.call import Call
from sandbox.ec2.errors import Ec2Error
from sandbox.ec2.filters import matcher, page
from sandbox.ec2.image_requests import require
from sandbox.ec2.launching import tags_for
from sandbox.ec2.model import LaunchTemplate, TemplateVersion
from sandbox.ec2.moments import second
from sandbox.ec2.region import Operation, Region

_SYMBOLIC = ("$Latest", "$Default")


def create_launch_template(region: Region, call: Call) -> dict[str, Any]:
    """Make a launch template with its first version."""
    (name,) = require(call.params, "LaunchTemplateName")
    if any(one.name == name for one in region.templates.values()):
        message = "Launch template name already in use."
        raise Ec2Error("InvalidLaunchTemplateName.AlreadyExistsException", message)
    its_tags = tags_for("launch-template", call.params.get("TagSpecifications") or [])
    template = LaunchTemplate(region.new_id("lt"), name, call.at, call.principal)
    template.versions[1] = _new_version(1, call)
    region.templates[template.template_id] = template
    region.tags.create(template.template_id, its_tags)
    return {"LaunchTemplate": _view(region, template, call.at)}


def create_launch_template_version(region: Region, call: Call) -> dict[str, Any]:
    """Add a version to a launch template, on top of the data of SourceVersion if one is named."""
    template = _named(region, call)
    number = template.latest_version + 1
    source = call.params.get("SourceVersion")
    base = template.versions[_number(template, str(source))].data if source else {}
    version = _new_version(number, call)
    template.versions[number] = TemplateVersion(
        number, call.at, call.principal, version.description, {**base, **version.data}
    )
    return {"LaunchTemplateVersion": _version_view(template, template.versions[number])}


def modify_launch_template(region: Region, call: Call) -> dict[str, Any]:
    """Set the default version of a launch template."""
    template = _named(region, call)
    (wanted,) = require(call.params, "DefaultVersion")
    template.default_version = _number(template, wanted)
    return {"LaunchTemplate": _view(region, template, call.at)}


def delete_launch_template(region: Region, call: Call) -> dict[str, Any]:
    """Delete a launch template with all its versions."""
    template = _named(region, call)
    answer = {"LaunchTemplate": _view(region, template, call.at)}
    del region.templates[template.template_id]
    region.tags.forget(template.template_id)
    return answer


def describe_launch_templates(region: Region, call: Call) -> dict[str, Any]:
    """List launch templates by ids, names or tags, in pages."""
    ids = set(call.params.get("LaunchTemplateIds") or [])
    names = set(call.params.get("LaunchTemplateNames") or [])
    matches = matcher(
        call.params.get("Filters"),
        {"launch-template-name": lambda one: [one.name]},
        lambda one: region.tags.seen(one.template_id, call.at),
    )
    listed = [
        template
        for template in region.templates.values()
        if (not ids or template.template_id in ids)
        and (not names or template.name in names)
        and matches(template)
    ]
    found, token = page(listed, call.params, lowest=1)
    views = [_view(region, template, call.at) for template in found]
    return {"LaunchTemplates": views, "NextToken": token}


def describe_launch_template_versions(region: Region, call: Call) -> dict[str, Any]:
    """List versions of one launch template, or `$Latest` and `$Default` of all, in pages."""
    wanted = [str(each) for each in call.params.get("Versions") or []]
    if call.params.get("LaunchTemplateId") or call.params.get("LaunchTemplateName"):
        templates = [_named(region, call)]
    elif wanted and set(wanted) <= set(_SYMBOLIC):
        templates = list(region.templates.values())
    else:
        message = "Without a launch template, Versions can only be $Latest and $Default."
        raise Ec2Error("InvalidParameterCombination", message)
    matches = matcher(
        call.params.get("Filters"),
        {"image-id": lambda pair: [str(pair[1].data.get("ImageId", ""))]},
        lambda _: {},
    )
    pairs = [
        (template, template.versions[number])
        for template in templates
        for number in sorted(_numbers(template, wanted), reverse=True)
    ]
    found, token = page([pair for pair in pairs if matches(pair)], call.params, lowest=1)
    views = [_version_view(template, version) for template, version in found]
    return {"LaunchTemplateVersions": views, "NextToken": token}


def _new_version(number: int, call: Call) -> TemplateVersion:
    """Return the version that a request describes."""
    description = call.params.get("VersionDescription")
    data = call.params.get("LaunchTemplateData") or {}
    return TemplateVersion(number, call.at, call.principal, description, dict(data))


def _named(region: Region, call: Call) -> LaunchTemplate:
    """Return the launch template that a request names by id or name."""
    template_id, name = call.params.get("LaunchTemplateId"), call.params.get("LaunchTemplateName")
    for template in region.templates.values():
        if template_id == template.template_id or (name and name == template.name):
            return template
    if template_id:
        message = f"The specified launch template, with template ID {template_id}, does not exist."
        raise Ec2Error("InvalidLaunchTemplateId.NotFound", message)
    message = f"The specified launch template, with template name {name}, does not exist."
    raise Ec2Error("InvalidLaunchTemplateName.NotFoundException", message)


def _numbers(template: LaunchTemplate, wanted: list[str]) -> set[int]:
    """Return the numbers of the wanted versions, or of all."""
    return {_number(template, each) for each in wanted} or set(template.versions)


def _number(template: LaunchTemplate, version: str) -> int:
    """Return the number of a version that is given as a number, `$Latest` or `$Default`."""
    symbols = {"$Latest": template.latest_version, "$Default": template.default_version}
    number = symbols.get(version, int(version) if version.isdecimal() else 0)
    if number not in template.versions:
        message = f"Could not find launch template version {version}"
        raise Ec2Error("InvalidLaunchTemplateId.VersionNotFound", message)
    return number


def _view(region: Region, template: LaunchTemplate, now: float) -> dict[str, Any]:
    """Return a launch template as EC2 shows it."""
    return {
        "LaunchTemplateId": template.template_id,
        "LaunchTemplateName": template.name,
        "CreateTime": second(template.created_at),
        "CreatedBy": template.created_by,
        "DefaultVersionNumber": template.default_version,
        "LatestVersionNumber": template.latest_version,
        "Tags": tags.to_response(region.tags.seen(template.template_id, now)),
    }


def _version_view(template: LaunchTemplate, version: TemplateVersion) -> dict[str, Any]:
    """Return a version of a launch template as EC2 shows it."""
    return {
        "LaunchTemplateId": template.template_id,
        "LaunchTemplateName": template.name,
        "VersionNumber": version.number,
        "VersionDescription": version.description,
        "CreateTime": second(version.created_at),
        "CreatedBy": version.created_by,
        "DefaultVersion": version.number == template.default_version,
        "LaunchTemplateData": dict(version.data),
    }


ACTIONS: dict[str, Operation] = {
    "CreateLaunchTemplate": create_launch_template,
    "CreateLaunchTemplateVersion": create_launch_template_version,
    "ModifyLaunchTemplate": modify_launch_template,
    "DeleteLaunchTemplate": delete_launch_template,
    "DescribeLaunchTemplates": describe_launch_templates,
    "DescribeLaunchTemplateVersions": describe_launch_template_versions,
}
