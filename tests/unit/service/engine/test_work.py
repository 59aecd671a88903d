"""The loop of people's work over HTTP, on both databases: claimed, handed in, sent back, mended, accepted."""

from __future__ import annotations

from .conftest import Place, document, key


def test_annotated_sent_back_mended_and_accepted(place: Place) -> None:
    place.fill(images=2).serve()
    ann, rev, root, project = place.as_("ann"), place.as_("rev"), place.as_("root"), place.project
    work = ann.claim(project)
    assert (work["stage"], work["purpose"], work["attempt"], work["document"]) == ("manual", "work", 1, None)
    assert ann.claim(project)["task"] == work["task"], "whoever holds a task gets it again, as after a reload"
    photo = ann("GET", f"/images/{work['image']['key']}")
    assert photo.content == ann("GET", f"/engine/images/{work['image']['id']}/photo").content
    done = ann.submit(work, (2, 2, 12, 12), (20, 20, 40, 40))
    assert (done.status_code, done.json()["state"], done.json()["repeated"]) == (200, "submitted", False)

    judged = rev.claim_review(project)
    assert judged["task"] == work["task"] and judged["annotator"] == "ann"
    assert judged["attempt"] == 1
    assert judged["document_id"] == done.json()["document"] and len(judged["document"]["annotations"]) == 2
    assert rev.judge(judged, "reject", reason="the bird is missing").json()["state"] == "rejected"

    again = ann.claim(project)
    assert (again["task"], again["attempt"], again["verdict"]) == (work["task"], 2, {"reason": "the bird is missing"})
    assert len(again["document"]["annotations"]) == 2
    assert ann.submit(again, (2, 2, 12, 12), (20, 20, 40, 40), (50, 5, 60, 15)).status_code == 200
    judged = rev.claim_review(project)
    mended = document(judged["image"], (1, 1, 12, 12))
    fixed = rev.judge(judged, "fix", document=mended)
    assert (fixed.status_code, fixed.json()["state"]) == (200, "accepted")
    assert place.store.document(fixed.json()["document"]).document.to_json() == mended

    numbers = root("GET", f"/projects/{project}/stats").json()
    assert numbers["stages"][0]["states"] == {"accepted": 1, "queued": 1} and numbers["people"][0]["rejected"] == 1
    assert set(numbers["plots"]) == {"people-throughput", "people-seconds_per_mask"}
    assert root("POST", f"/tasks/{work['task']}/reopen", json={"reason": "again"}).json() == {"state": "queued"}


def test_a_write_that_is_repeated_changes_nothing(place: Place) -> None:
    place.fill(review_share=0, review_first=0).serve()
    ann = place.as_("ann")
    work = ann.claim(place.project)
    body = {"lease": work["lease"], "key": key(), "document": document(work["image"])}
    first, second = (ann("POST", f"/tasks/{work['task']}/submit", json=body) for _ in range(2))
    assert first.json() == {"state": "accepted", "document": 1, "repeated": False}
    assert second.json() == {"state": "accepted", "document": 1, "repeated": True}
    other = ann.claim(place.project)
    for one in (other, work):
        changed = {**body, "document": document(one["image"], (1, 1, 3, 3))}
        assert ann("POST", f"/tasks/{one['task']}/submit", json=changed).status_code == 409, "the key is used"
    skipped = {"lease": other["lease"], "key": key(), "reason": "nothing to see", "active_seconds": 3.5}
    answers = [ann("POST", f"/tasks/{other['task']}/skip", json=skipped).json() for _ in range(2)]
    assert [one["repeated"] for one in answers] == [False, True] and answers[0]["state"] == "skipped"


def test_anothers_lease_cannot_be_written(place: Place) -> None:
    place.fill().serve()
    ann, bob, project = place.as_("ann"), place.as_("bob"), place.project
    hers, his = ann.claim(project), bob.claim(project)
    assert hers["task"] != his["task"]
    for path, more in (
        ("heartbeat", {}),
        ("skip", {"key": key(), "reason": "mine now"}),
        ("submit", {"key": key(), "document": document(hers["image"])}),
        ("release", {}),
    ):
        body = {"lease": hers["lease"], **more}
        assert bob("POST", f"/tasks/{hers['task']}/{path}", json=body).status_code == 404, "never his task"
        own = {**body, "document": document(his["image"])} if path == "submit" else body
        answer = bob("POST", f"/tasks/{his['task']}/{path}", json=own)  # his task, her lease
        assert answer.status_code == (204 if path == "release" else 409), (path, answer.text)
        assert ann("POST", f"/tasks/{his['task']}/{path}", json=body).status_code == 404, "her lease, his task"
    rev = place.as_("rev")
    answer = rev("POST", f"/tasks/{hers['task']}/heartbeat", json={"lease": hers["lease"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "lease")
    assert ann.submit(hers).status_code == 200 and bob.submit(his).status_code == 200


def test_a_lease_taken_over_is_lost_and_said_so(place: Place) -> None:
    place.fill(images=1, lease_seconds=1.0).serve()
    ann, bob = place.as_("ann"), place.as_("bob")
    hers = ann.claim(place.project)
    beat = ann("POST", f"/tasks/{hers['task']}/heartbeat", json={"lease": hers["lease"]})
    assert beat.status_code == 200 and beat.json()["expires"] >= hers["expires"]
    assert bob("POST", f"/projects/{place.project}/claim", json={}).status_code == 204, "it is hers"
    assert ann("POST", f"/tasks/{hers['task']}/release", json={"lease": hers["lease"]}).status_code == 204
    assert ann("POST", f"/tasks/{hers['task']}/release", json={"lease": hers["lease"]}).status_code == 204
    assert bob.claim(place.project)["task"] == hers["task"]
    answer = ann.submit(hers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "lease")


def test_leases_logins_and_photos_outlive_a_restart(place: Place) -> None:
    place.fill().serve()
    work = place.as_("ann").claim(place.project)
    place.stop()
    place.serve()
    ann = place.as_("ann")
    assert ann.claim(place.project)["lease"] == work["lease"]
    assert ann.submit(work).json()["state"] == "submitted"


def test_what_comes_next_is_told_and_not_taken(place: Place) -> None:
    place.fill().serve()
    ann = place.as_("ann")
    told = ann("GET", f"/projects/{place.project}/queue?count=2").json()
    assert told["remaining"] == 3 and len(told["next"]) == 2
    assert ann.claim(place.project)["image"]["key"] == told["next"][0]["key"]
    shown = ann("GET", "/projects").json()
    assert [(one["name"], one["stages"]) for one in shown] == [("garden", ["manual"])]


def test_photos_need_no_upload(place: Place) -> None:
    """Embedding, masks and jobs for a project's photo, and a key that nobody has."""
    place.fill().serve()
    ann = place.as_("ann")
    mine = place.images[0].sha256
    assert len(ann("GET", f"/images/{mine}/embedding").content) > 1000
    prompts = {"prompts": [{"points": [[5, 5]], "labels": [1]}]}
    assert len(ann("POST", f"/images/{mine}/masks", json=prompts).json()["results"][0]["masks"]) == 3
    started = ann("POST", "/jobs", json={"kind": "everything", "image": mine, "knobs": {"points_per_side": 1}})
    assert started.status_code == 202
    assert ann("GET", f"/images/{'0' * 64}").status_code == 404
    assert ann("POST", f"/images/{'0' * 64}/masks", json=prompts).status_code == 404
    same = ann("POST", "/images", files={"file": ("a.png", place.store.image_bytes(place.images[1]))})
    assert same.json()["key"] == place.images[1].sha256, "what the project has is not kept twice"
    assert ann("DELETE", f"/images/{place.images[1].sha256}").json()["error"]["code"] == "image_of_project"


def test_jobs_belong_to_who_began_them(place: Place) -> None:
    """To others, even reviewers, an id they came to know is none; after a restart as well."""
    place.fill(images=1).serve(source_of=lambda model, knobs: lambda rgb, **_: [])
    ann, bob = place.as_("ann"), place.as_("bob")
    body = {"kind": "everything", "image": place.images[0].sha256}
    job = ann("POST", "/jobs", json=body).json()["id"]
    his = bob("POST", "/jobs", json=body).json()["id"]

    def check() -> None:
        ann, bob, rev, root = (place.as_(name) for name in ("ann", "bob", "rev", "root"))
        for other in (bob, rev):
            for method, path in (("GET", ""), ("GET", "/records"), ("GET", "/events"), ("DELETE", "")):
                answer = other(method, f"/jobs/{job}{path}")
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_unknown"), (method, path)
        listed = [[one["id"] for one in asker("GET", "/jobs").json()] for asker in (ann, bob, rev, root)]
        assert listed == [[job], [his], [], [job, his]]
        assert root("GET", f"/jobs/{job}").status_code == ann("GET", f"/jobs/{job}/events").status_code == 200

    check()
    place.stop()
    place.serve(source_of=lambda model, knobs: lambda rgb, **_: [])
    check()
    assert place.as_("root")("DELETE", f"/jobs/{job}").json()["status"] == "done"


def test_faces_are_found_drawn_and_cleared(place: Place) -> None:
    place.fill(images=1).serve()
    rev, image = place.as_("rev"), place.images[0].id
    corners = [(1.0, 1.0), (9.0, 1.0), (9.0, 9.0)]
    assert rev("POST", f"/engine/images/{image}/clear", json={"verdict": "cleared"}).status_code == 409, "no detector"
    place.store.note_detections(image, "eyes", [("face", corners, 0.5)])
    told = rev("GET", f"/projects/{place.project}/clearing").json()
    assert told["remaining"] == 1 and told["next"][0]["regions"][0]["by"] == "eyes"
    drawn = rev("POST", f"/engine/images/{image}/regions", json={"kind": "plate", "outline": corners}).json()
    assert drawn["by"] == "person"
    outside = {"kind": "plate", "outline": [[0, 0], [5, 0], [5, 4000]]}
    assert rev("POST", f"/engine/images/{image}/regions", json=outside).status_code == 422
    assert rev("DELETE", f"/engine/regions/{drawn['id']}").status_code == 204
    assert rev("POST", f"/engine/images/{image}/clear", json={"verdict": "withheld"}).status_code == 422, "no reason"
    assert rev("POST", f"/engine/images/{image}/clear", json={"verdict": "cleared"}).json() == {"privacy": "cleared"}
    assert rev("GET", f"/projects/{place.project}/clearing").json() == {"next": [], "remaining": 0}


def test_an_admin_adds_people_and_photos(place: Place) -> None:
    place.fill(images=1).serve()
    root, project = place.as_("root"), place.project
    new = {"name": "eve", "password": "battery staple", "role": "annotator"}
    made = root("POST", f"/projects/{project}/people", json=new)
    assert made.status_code == 201 and not made.json()["simulated"]
    assert root("POST", f"/projects/{project}/people", json=new).status_code == 422, "the name is taken"
    assert place.store.authenticate("eve", "battery staple").id == made.json()["id"]
    changed = root("PATCH", f"/people/{made.json()['id']}", json={"role": "reviewer", "active": False})
    assert (changed.json()["role"], changed.json()["active"]) == ("reviewer", False)
    for unwise in ({"active": False}, {"role": "annotator"}):
        assert root("PATCH", f"/people/{place.users['root']}", json=unwise).status_code == 409
    assert len(root("GET", f"/projects/{project}/people").json()) == 5
    more = {"file": ("sub/new.png", place.store.image_bytes(place.images[0]) + b"\0")}
    added = root("POST", f"/projects/{project}/images?stage=manual", files=more)
    assert added.status_code == 200 and added.json()["queued"], added.text
    assert added.json()["image"]["file_name"] == "new.png" and len(place.store.images(project)) == 2
    text = {"file": ("new.png", b"not a photo")}
    assert root("POST", f"/projects/{project}/images", files=text).status_code == 415
    plot = root("GET", f"/projects/{project}/plots/people-throughput.png")
    assert plot.status_code == 404, "nothing happened yet"
    place.as_("ann").submit(place.as_("ann").claim(project))
    plot = root("GET", f"/projects/{project}/plots/people-throughput.png")
    assert plot.headers["content-type"] == "image/png" and plot.content.startswith(b"\x89PNG")
