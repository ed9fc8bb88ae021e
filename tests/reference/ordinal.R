# Cumulative link mixed models by ordinal::clmm: -2 log-likelihood by Laplace's approximation, estimates, standard deviations.
#
# Rscript tests/reference/ordinal.R > tests/reference/ordinal.json
#
# clmm (2022.11-16) calls the complementary log-log link "loglog" and the other way about; clm and MASS::polr, fitted here to
# the same formula without random effects, have the names right. The optimum of clmm is as near as its gradient says; its
# standard errors under Laplace come from differences of a noisy criterion and are left out.

suppressMessages({ library(ordinal); library(jsonlite) })

factors <- function(d, names) { for (n in names) d[[n]] <- factor(d[[n]]); d }
here <- "tests/data/"
wine <- factors(read.csv(paste0(here, "wine.csv")), c("rating", "temp", "contact", "judge", "bottle"))
verb <- factors(read.csv(gzfile(paste0(here, "VerbAgg.csv.gz"))), c("Gender", "btype", "situ", "id", "item"))
verb$btype <- factor(verb$btype, levels = c("curse", "scold", "shout"))
verb$situ <- factor(verb$situ, levels = c("other", "self"))
verb$resp <- factor(verb$resp, levels = c("no", "perhaps", "yes"))

case <- function(id, data, name, formula, link, nagq = 1L) {
  theirs <- c(logit = "logit", probit = "probit", cloglog = "loglog")[[link]]
  m <- clmm(as.formula(formula), data, link = theirs, nAGQ = nagq,
            control = clmm.control(gradTol = 1e-7, maxIter = 500))
  v <- VarCorr(m)
  list(id = id, data = name, formula = formula, link = link, n_agq = nagq, deviance = -2 * as.numeric(m$logLik),
       max_gradient = max(abs(m$gradient)), thresholds = as.list(m$alpha), beta = as.list(m$beta),
       sd = lapply(v, function(b) as.numeric(sqrt(diag(b)))))
}

without <- function(link) {
  m <- clm(rating ~ temp + contact, data = wine, link = link)
  new <- expand.grid(temp = levels(wine$temp), contact = levels(wine$contact))
  p <- predict(m, new, se.fit = TRUE, interval = TRUE)
  list(link = link, deviance = -2 * as.numeric(m$logLik), thresholds = as.list(m$alpha), beta = as.list(m$beta),
       se = as.list(sqrt(diag(vcov(m)))), temp = as.character(new$temp), contact = as.character(new$contact),
       fit = p$fit, se_fit = p$se.fit, lower = p$lwr, upper = p$upr)
}

cases <- list(
  case("wine_logit", wine, "wine", "rating ~ temp + contact + (1 | judge)", "logit"),
  case("wine_probit", wine, "wine", "rating ~ temp + contact + (1 | judge)", "probit"),
  case("wine_cloglog", wine, "wine", "rating ~ temp + contact + (1 | judge)", "cloglog"),
  case("wine_slopes", wine, "wine", "rating ~ temp + contact + (1 + contact | judge)", "probit"),
  case("wine_two", wine, "wine", "rating ~ temp + contact + (1 | judge) + (1 | bottle)", "probit"),
  case("verbagg", verb, "VerbAgg", "resp ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", "logit")
)
out <- list(versions = list(R = R.version.string, ordinal = as.character(packageVersion("ordinal"))), clmm = cases,
            clm = lapply(c("logit", "probit", "cloglog"), without))
cat(toJSON(out, digits = 15, auto_unbox = TRUE, pretty = TRUE), "\n")
