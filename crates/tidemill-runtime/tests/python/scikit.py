"""Models of scikit-learn through skl2onnx."""

import functools

import numpy as np
import onnx.helper as helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from rows import feeds

make_attribute = helper.make_attribute


def plain_lists(key, value, *more, **named):
    """The converter of histogram boosting gives NumPy's numbers, which this version of onnx does not take."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        value = [item.item() if isinstance(item, np.generic) else item for item in value]
        value = [int(item) if isinstance(item, bool) else item for item in value]
    return make_attribute(key, value, *more, **named)


helper.make_attribute = plain_lists

NOISE = np.random.default_rng(3)
X = NOISE.normal(size=(300, 8)).astype(np.float32)
BINARY = (X[:, 0] + X[:, 1] * X[:, 2] > 0.2).astype(np.int64)
MULTI = np.digitize(X[:, 0] + X[:, 3], [-0.8, 0.1, 1.0]).astype(np.int64)
TEXTS = np.array(["red", "green", "blue", "black"])[MULTI]
NUMBER = (X[:, 0] * 2 + np.sin(X[:, 1]) + X[:, 2] * X[:, 3]).astype(np.float32)
PAIR = np.stack([NUMBER, X[:, 4] - X[:, 5]], axis=1)
TEST = NOISE.normal(size=(48, 8)).astype(np.float32)


def converted(model, target, options=None, x=X, **more):
    @functools.cache
    def make():
        fitted = model.fit(x, target) if target is not None else model.fit(x)
        named = {type(fitted): options} if options and not isinstance(options, tuple) else None
        if isinstance(options, tuple):
            named = {id(fitted): options[0]}
        more.setdefault("target_opset", {"": 18, "ai.onnx.ml": 3})
        return to_onnx(fitted, x[:1], options=named, **more)

    return make


def plain(name, model, target, options=None, missing=True, x=X, test=TEST, **more):
    make = converted(model, target, options, x, **more)
    return name, make, lambda session: feeds(test, make(), missing)(session)


def trees():
    no_map = {"zipmap": False}
    yield plain("tree", DecisionTreeClassifier(max_depth=6), BINARY)
    yield plain("tree-multi", DecisionTreeClassifier(max_depth=6), TEXTS, no_map)
    yield plain("tree-regressor", DecisionTreeRegressor(max_depth=7), NUMBER)
    yield plain("tree-regressor-two", DecisionTreeRegressor(max_depth=5), PAIR)
    yield plain("forest", RandomForestClassifier(30, max_depth=8, random_state=1), BINARY, no_map)
    yield plain("forest-zipmap", RandomForestClassifier(30, random_state=1), BINARY)
    yield plain("forest-multi", RandomForestClassifier(25, random_state=1), MULTI, no_map)
    yield plain("forest-texts-zipmap", RandomForestClassifier(25, random_state=1), TEXTS)
    yield plain("forest-regressor", RandomForestRegressor(25, random_state=1), NUMBER)
    yield plain("forest-regressor-two", RandomForestRegressor(9, random_state=1), PAIR)
    yield plain("extra-trees", ExtraTreesClassifier(20, random_state=1), MULTI, no_map)
    yield plain("extra-trees-regressor", ExtraTreesRegressor(20, random_state=1), NUMBER)
    yield plain("gbc", GradientBoostingClassifier(n_estimators=40, random_state=1), BINARY, no_map)
    yield plain("gbc-multi", GradientBoostingClassifier(n_estimators=20, random_state=1), TEXTS)
    yield plain("gbr", GradientBoostingRegressor(n_estimators=40, random_state=1), NUMBER)
    yield plain("hist", HistGradientBoostingClassifier(max_iter=30), BINARY, no_map)
    yield plain("hist-multi", HistGradientBoostingClassifier(max_iter=20), MULTI, no_map)
    yield plain("hist-regressor", HistGradientBoostingRegressor(max_iter=30), NUMBER)
    yield plain("isolation", IsolationForest(n_estimators=20, random_state=1), None)
    yield plain("ada", AdaBoostClassifier(n_estimators=10, random_state=1), BINARY, no_map)
    yield plain("bagging", BaggingClassifier(n_estimators=5, random_state=1), BINARY, no_map)
    double = X.astype(np.float64)
    for name, model, target in [
        ("forest-double", RandomForestClassifier(15, random_state=1), MULTI),
    ]:
        options = no_map if "Classifier" in type(model).__name__ else None
        yield plain(name, model, target, options, x=double, test=TEST.astype(np.float64))


def linear():
    no_map = {"zipmap": False}
    yield plain("logistic", LogisticRegression(), BINARY, no_map)
    yield plain("logistic-zipmap", LogisticRegression(), TEXTS)
    yield plain("logistic-multi", LogisticRegression(), MULTI, no_map)
    yield plain("logistic-raw", LogisticRegression(), BINARY, {"zipmap": False, "raw_scores": True})
    yield plain("logistic-ovr", OneVsRestClassifier(LogisticRegression()), MULTI, no_map)
    yield plain("linear", LinearRegression(), NUMBER)
    yield plain("linear-two", LinearRegression(), PAIR)
    yield plain("ridge", Ridge(), NUMBER)
    yield plain("ridge-double", Ridge(), NUMBER.astype(np.float64), x=X.astype(np.float64), test=TEST.astype(np.float64))
    yield plain("elastic", ElasticNet(alpha=0.1), NUMBER)
    yield plain("bayesian-ridge", BayesianRidge(), NUMBER)
    yield plain("poisson", PoissonRegressor(), np.abs(NUMBER), missing=False)
    yield plain("ridge-classifier", RidgeClassifier(), MULTI, no_map)
    yield plain("sgd-log", SGDClassifier(loss="log_loss", random_state=1), MULTI, no_map, missing=False)
    yield plain("sgd-hinge", SGDClassifier(random_state=1), BINARY, {"zipmap": False, "raw_scores": True})
    yield plain("linear-svc", LinearSVC(), MULTI)
    yield plain("linear-svc-binary", LinearSVC(), BINARY)
    yield plain("calibrated", CalibratedClassifierCV(LinearSVC(), cv=2), BINARY, no_map, missing=False)
    yield plain("lda", LinearDiscriminantAnalysis(), MULTI, no_map)
    yield plain("qda", QuadraticDiscriminantAnalysis(), MULTI, no_map, missing=False)


def others():
    no_map = {"zipmap": False}
    yield plain("svc", SVC(probability=True, random_state=1), BINARY, no_map, missing=False)
    yield plain("svc-multi", SVC(probability=True, random_state=1), TEXTS, no_map, missing=False)
    yield plain("svc-raw", SVC(), MULTI, no_map, missing=False)
    yield plain("svc-raw-binary", SVC(kernel="linear"), BINARY, no_map, missing=False)
    yield plain("svc-poly", SVC(kernel="poly", probability=True, random_state=1), MULTI, no_map, missing=False)
    yield plain("svc-sigmoid", SVC(kernel="sigmoid", probability=True, random_state=1), MULTI, no_map, missing=False)
    yield plain("nu-svc", NuSVC(probability=True, random_state=1), BINARY, no_map, missing=False)
    yield plain("svr", SVR(), NUMBER, missing=False)
    yield plain("svr-poly", SVR(kernel="poly"), NUMBER, missing=False)
    yield plain("one-class-svm", OneClassSVM(), None, missing=False)
    yield plain("gaussian-nb", GaussianNB(), MULTI, no_map, missing=False)
    yield plain("bernoulli-nb", BernoulliNB(), MULTI, no_map, missing=False)
    yield plain("multinomial-nb", MultinomialNB(), MULTI, no_map, missing=False, x=np.abs(X), test=np.abs(TEST))
    yield plain("knn", KNeighborsClassifier(), MULTI, {"zipmap": False, "optim": "cdist"}, missing=False)
    yield plain("knn-scan", KNeighborsClassifier(), MULTI, no_map, missing=False)
    yield plain("knn-regressor", KNeighborsRegressor(weights="distance"), NUMBER, {"optim": "cdist"}, missing=False)
    yield plain("gaussian-mixture", GaussianMixture(3, random_state=1), None, missing=False)
    yield plain("kmeans", KMeans(4, random_state=1, n_init=2), None, missing=False)
    yield plain("gaussian-process", GaussianProcessRegressor(), NUMBER[:40], x=X[:40], missing=False)
    yield plain("mlp-classifier", MLPClassifier(hidden_layer_sizes=(16, 8), max_iter=80, random_state=1), MULTI, no_map, missing=False)
    yield plain("mlp-regressor", MLPRegressor(hidden_layer_sizes=(16,), max_iter=80, random_state=1, activation="tanh"), NUMBER, missing=False)
    members = [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=4)), ("c", GaussianNB())]
    yield plain("voting", VotingClassifier(members, voting="soft", flatten_transform=False), BINARY, no_map, missing=False)
    yield plain("stacking", StackingClassifier(members[:2], cv=2), BINARY, no_map, missing=False)


def pipelines():
    options = ({"zipmap": False},)
    logistic = LogisticRegression
    yield plain("scaler-pca-logistic", make_pipeline(StandardScaler(), PCA(4), logistic()), BINARY, options)
    yield plain("minmax-ridge", make_pipeline(MinMaxScaler(), Ridge()), NUMBER)
    yield plain("robust-maxabs", make_pipeline(RobustScaler(), MaxAbsScaler(), Ridge()), NUMBER)
    for norm in ["l1", "l2", "max"]:
        yield plain(f"normalizer-{norm}", Normalizer(norm), None, missing=False)
    yield plain("binarizer", Binarizer(threshold=0.2), None)
    yield plain("polynomial", make_pipeline(PolynomialFeatures(2), Ridge()), NUMBER, missing=False)
    for encode in ["onehot-dense", "ordinal"]:
        bins = KBinsDiscretizer(4, encode=encode, quantile_method="linear")
        yield plain(f"bins-{encode}", make_pipeline(bins, logistic()), BINARY, options, missing=False)
    yield plain("imputer", make_pipeline(SimpleImputer(strategy="median"), logistic()), BINARY, options)
    yield plain("quantile", make_pipeline(QuantileTransformer(n_quantiles=20), logistic()), BINARY, options, missing=False)
    yield plain("power", make_pipeline(PowerTransformer(), logistic()), BINARY, options, missing=False)
    yield plain("k-best", make_pipeline(SelectKBest(k=4), RandomForestClassifier(9, random_state=1)), BINARY, options)
    yield plain("svd", make_pipeline(TruncatedSVD(3), logistic()), BINARY, options)
    yield plain("identity", make_pipeline(FunctionTransformer(), logistic()), BINARY, options)


def columns():
    import pandas

    frame = pandas.DataFrame(X[:, :3], columns=["a", "b", "c"])
    frame["city"] = np.array(["Rome", "Oslo", "Lima", "Bonn"])[NOISE.integers(0, 4, len(frame))]
    frame["grade"] = np.array(["low", "mid", "high"])[NOISE.integers(0, 3, len(frame))]
    frame["count"] = NOISE.integers(0, 5, len(frame))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    transformer = ColumnTransformer(
        [
            ("numbers", numbers, ["a", "b", "c"]),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("grade", OrdinalEncoder(categories=[["low", "mid", "high"]], handle_unknown="use_encoded_value", unknown_value=-1), ["grade"]),
            ("count", OneHotEncoder(handle_unknown="ignore"), ["count"]),
        ]
    )
    types = [(name, FloatTensorType([None, 1])) for name in "abc"]
    types += [("city", StringTensorType([None, 1])), ("grade", StringTensorType([None, 1]))]
    types += [("count", Int64TensorType([None, 1]))]

    def rows(count):
        feed = {name: frame[[name]].to_numpy()[:count].astype(np.float32).copy() for name in "abc"}
        for name in ["city", "grade"]:
            feed[name] = frame[[name]].to_numpy()[:count].astype(object)
        feed["count"] = frame[["count"]].to_numpy()[:count].astype(np.int64)
        if count > 4:
            feed["a"][0] = np.nan
            feed["city"][1] = "Atlantis"
            feed["city"][2] = ""
            feed["grade"][3] = "unheard of"
            feed["count"][4] = 99
        return feed

    batches = [rows(64), rows(1), rows(0)]
    for name, model, target in [
        ("columns-logistic", LogisticRegression(), BINARY),
        ("columns-forest-texts", RandomForestClassifier(12, random_state=1), TEXTS),
        ("columns-gbr", GradientBoostingRegressor(n_estimators=12, random_state=1), NUMBER),
    ]:
        def make(model=model, target=target):
            pipeline = make_pipeline(transformer, model).fit(frame, target)
            options = {id(pipeline): {"zipmap": False}} if hasattr(model, "predict_proba") else None
            return to_onnx(pipeline, initial_types=types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})

        yield name, make, batches

    only = [("x", StringTensorType([None, 2]))]
    texts = frame[["city", "grade"]].to_numpy().astype(object)
    asked = texts[:32].copy()
    asked[0, 0] = "Atlantis"
    for name, model in [
        ("onehot", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
    ]:
        def make(model=model):
            return to_onnx(model.fit(texts), initial_types=only, target_opset={"": 18, "ai.onnx.ml": 3})

        yield name, make, [{"x": asked}, {"x": asked[:1]}, {"x": asked[:0]}]


def texts():
    words = ["the", "cat", "sat", "on", "mat", "dog", "ran", "away", "from", "home", "Zürich", "naïve"]
    corpus = [" ".join(NOISE.choice(words, NOISE.integers(2, 9))) for _ in range(120)]
    target = np.array(["cat" in text for text in corpus]).astype(np.int64)
    asked = np.array(corpus[:30] + ["", "nothing known here", "Cat, DOG! sat.", "  the   the "], dtype=object)
    types = [("text", StringTensorType([None, 1]))]
    batches = [{"text": asked.reshape(-1, 1)}, {"text": asked[:1].reshape(-1, 1)}]
    for name, vectorizer in [
        ("tfidf-logistic", TfidfVectorizer()),
        ("tfidf-bigrams", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
        ("counts", CountVectorizer(binary=True)),
        ("characters", TfidfVectorizer(analyzer="char", ngram_range=(2, 3))),
        ("stop-words", TfidfVectorizer(stop_words=["the", "on"])),
    ]:
        def make(vectorizer=vectorizer):
            pipeline = make_pipeline(vectorizer, LogisticRegression()).fit(corpus, target)
            options = {id(pipeline): {"zipmap": False}}
            model = to_onnx(pipeline, initial_types=types, options=options, target_opset={"": 18, "ai.onnx.ml": 3})
            for node in model.graph.node:
                if node.op_type == "StringNormalizer":
                    # The one locale that every machine has.
                    kept = [a for a in node.attribute if a.name != "locale"]
                    del node.attribute[:]
                    node.attribute.extend([*kept, helper.make_attribute("locale", "C")])
            return model

        yield name, make, batches


def cases():
    for part in [trees, linear, others, pipelines, columns, texts]:
        yield from part()
