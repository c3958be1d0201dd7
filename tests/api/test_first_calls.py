"""The first calls a newcomer types."""

from factories import Factories


def test_register_log_in_and_list_books(client):
    body = {"username": "jdoe", "email": "jdoe@example.com", "password": "password123"}
    registered = client.post("/users/register", json=body)
    assert registered.status_code == 201, registered.text
    assert registered.json["role"] == "patron"
    assert "password" not in registered.text
    answer = client.post("/users/login", json={"email": "jdoe@example.com", "password": "password123"})
    assert answer.status_code == 200, answer.text
    assert answer.json.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    books = client.get("/books", headers={"Authorization": f"Bearer {answer.json['access_token']}"})
    assert (books.status_code, books.json) == (200, [])


def test_wrong_password_is_401_in_the_one_error_shape(client, make: Factories):
    make.user(username="jdoe", password="password123")
    answer = client.post("/users/login", json={"email": "jdoe", "password": "password124"})
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
