"""Routes for sharing, exporting, erasing and administering what is stored of users."""
